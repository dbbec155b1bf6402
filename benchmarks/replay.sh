# Cases of `python -m benchmarks.replay`: each begins with a line `## its name` and runs in a folder of its own, which
# has the files two.toml and sweep.toml. What stands before the first one is run before each of them.
spectral-icl() { "$PYTHON" -c 'from spectral_icl.cli import main; main()' "$@"; }
python() { "$PYTHON" "$@"; }
base='
import numpy as np
import spectral_icl as si
p = si.Problem.multitask(task_sizes=(2, 2), signal=1.0, noise=0.1, context_length=100)
start = si.initial.paper(p, 2)
'
said() { tail -n 1 >&2; }  # the last line is what a case shows

## a flow over a sweep
spectral-icl sweep sweep.toml --out diagram.zarr > /dev/null
spectral-icl flow two.toml --out diagram.zarr > /dev/null; status=$?
test -d diagram.zarr/status || echo LOST >&2; exit $status

## a flow over a folder of notes
mkdir x.zarr; echo note > x.zarr/notes.txt
spectral-icl flow two.toml --out x.zarr > /dev/null; status=$?
test -f x.zarr/notes.txt || echo LOST >&2; exit $status

## a figure over notes
echo note > notes.pdf
spectral-icl flow two.toml --plot notes.pdf > /dev/null; status=$?
grep -q note notes.pdf || echo LOST >&2; exit $status

## a figure over its input
cp two.toml in.pdf; spectral-icl flow in.pdf --plot in.pdf > /dev/null; status=$?
grep -q signal in.pdf || echo LOST >&2; exit $status

## a flow over a link
echo note > notes.txt; ln -s notes.txt out.nc
spectral-icl flow two.toml --out out.nc > /dev/null; status=$?
test -L out.nc || echo 'the link is LOST' >&2; exit $status

## a dangling link
ln -s missing/x.nc out.nc; spectral-icl flow two.toml --out out.nc > /dev/null

## a name that is not UTF-8
export PYTHONIOENCODING=utf-8; cp two.toml $'caf\xe9.toml'; spectral-icl flow $'caf\xe9.toml' --out $'caf\xe9.nc' > /dev/null

## an error in a pool of processes
python - <<'END' 2>&1 | said
from concurrent.futures import ProcessPoolExecutor
import spectral_icl as si
def bad(k):
    raise si.ProblemError("k", k, "something else")
with ProcessPoolExecutor(1) as pool:
    error = pool.submit(bad, 3).exception()
print(type(error).__name__, error)
END

## a full disk, .nc
mkdir full; mount -t tmpfs -o size=16k none full || exit 77
spectral-icl flow two.toml --out full/run.nc > /dev/null; status=$?; umount full; exit $status

## a full disk, .zarr
mkdir full; mount -t tmpfs -o size=16k none full || exit 77
spectral-icl flow two.toml --out full/run.zarr > /dev/null; status=$?; umount full; exit $status

## a full disk, .pdf
mkdir full; mount -t tmpfs -o size=16k none full || exit 77
spectral-icl flow two.toml --plot full/run.pdf > /dev/null; status=$?; umount full; exit $status

## a full disk, sweep
mkdir full; mount -t tmpfs -o size=64k none full || exit 77
spectral-icl sweep sweep.toml --out full/s.zarr > /dev/null; status=$?; umount full; exit $status

## least squares without noise
python - <<'END' 2>&1 | said
from spectral_icl.sparse import ols_risk, oracle_risk
print([float(ols_risk(20, d, 1.0, 0.0)) for d in (19, 20, 21)], float(ols_risk(20, 19, 1.0, 0.0)), float(oracle_risk(3, 3, 0.0)))
END

## a damaged cache, empty index
export NUMBA_CACHE_DIR=$PWD/cache; mkdir -m 700 cache
spectral-icl flow two.toml > /dev/null 2>&1
find cache -name '*.nbi' | while read -r f; do : > "$f"; done
spectral-icl flow two.toml > /dev/null

## a damaged cache, cut code
export NUMBA_CACHE_DIR=$PWD/cache; mkdir -m 700 cache
spectral-icl flow two.toml > /dev/null 2>&1
find cache -name '*.nbc' | while read -r f; do truncate -s 100 "$f"; done
spectral-icl flow two.toml > /dev/null

## no place for a cache, help
NUMBA_CACHE_DIR=/proc/none spectral-icl --help > /dev/null

## no place for a cache, flow
NUMBA_CACHE_DIR=/proc/none spectral-icl flow two.toml > /dev/null

## no compiler
NUMBA_DISABLE_JIT=1 spectral-icl flow two.toml > /dev/null

## a cache that others can write
mkdir cache; chmod 777 cache; NUMBA_CACHE_DIR=$PWD/cache spectral-icl flow two.toml > /dev/null

## a backend of notebooks
MPLBACKEND=module://matplotlib_inline.backend_inline spectral-icl flow two.toml --plot f.pdf > /dev/null

## text.usetex without LaTeX
echo 'text.usetex: True' > matplotlibrc
spectral-icl sparse --set study.prompts=20 --plot f.pdf > /dev/null

## sweep without standard error
spectral-icl sweep sweep.toml --out s.zarr 2>&-; status=$?
python -c "import spectral_icl as si; print(int((si.open_sweep('s.zarr').status >= 0).sum()), 'of 3 points are solved')" 2>&1 | said
exit $status

## sparse without standard error
spectral-icl sparse --set study.prompts=20 2>&- > out.txt; status=$?
said < out.txt; exit $status

## verify without standard output
spectral-icl verify two.toml --claim monotone-loss >&-

## a narrow stream
PYTHONIOENCODING=cp1252 spectral-icl flow two.toml --out π.nc > out.txt

## python -m spectral_icl.cli
python -m spectral_icl.cli flow two.toml > out.txt; status=$?; wc -l < out.txt | said; exit $status

## python -m spectral_icl
python -m spectral_icl flow two.toml > out.txt; status=$?; wc -l < out.txt | said; exit $status

## no command
spectral-icl > out.txt; status=$?; said < out.txt; exit $status

## a sweep that is not there
python -c "import spectral_icl as si; si.open_sweep('missing.zarr')" 2>&1 | said

## a jax array
python - <<'END' 2>&1 | said
import jax.numpy as jnp, numpy as np, spectral_icl as si
print(si.Problem.multitask(task_sizes=(2, 2), signal=jnp.array([1.0, 1.0]), noise=np.array(0.1), context_length=100).signal)
END

## a masked start
python -c "$base
print(si.loss(p, np.ma.masked_array(np.ones((1, 2)), mask=[[0, 1]]), np.ones((1, 2))))" 2>&1 | said

## a byte order mark
(printf '\xef\xbb\xbf'; cat two.toml) > bom.toml; spectral-icl flow bom.toml > /dev/null

## a dataset cut short
python -c "$base
s = si.gradient_flow(p, *start)
t = si.Solution.from_xarray(s.to_xarray().isel(node=slice(3), step=slice(2)))
print(t.success, t.final_loss, 'instead of', s.final_loss)" 2>&1 | said

## one coefficient, no noise
printf '[sparse]\nd = 1\ns = 1\nn = 3\nnoise = 0.0\n[study]\nprompts = 20\n' > one.toml
spectral-icl sparse one.toml > /dev/null

## a signal of 5e-324
spectral-icl flow two.toml --set problem.signal=5e-324 > /dev/null

## a length of 1 without noise
spectral-icl verify two.toml --set problem.context_length=1 --set problem.noise=0 --claim decomposability-preserved > /dev/null

## tasks of 1 and 1087 coordinates
spectral-icl optimal two.toml --set 'problem.task_sizes=[1, 1087]' --set problem.context_length=1 --set problem.covariance=1e-9 > /dev/null

## a block of 3e8 coordinates
spectral-icl optimal two.toml --set 'problem.task_sizes=[300000000]' --set problem.context_length=1 > /dev/null

## covariance of 1e-13
spectral-icl flow two.toml --set problem.covariance=1e-13 --set 'initial.kind="random"' --set initial.scale=1.0 --out run.nc > /dev/null; status=$?
test -e run.nc && test $status = 2 && echo 'and a file' >&2; exit $status

## an infinite time and rest below rounding
python -c "$base
p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
try:
    s = si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=np.inf, stationary=1e-16)
except si.IntegrationError as error:
    s = error.solution
print(s.success, s.outcome.name, s.final_loss)" 2>&1 | said

## an emergence under way at the start
cat > now.toml <<'END'
[problem]
task_sizes = [2, 2]
signal = 1.0
noise = 0.1
context_length = 100
[model]
parametrization = "merged"
[initial]
omega = [[0.25, 0.34]]
mu = [[0.99, 0.49]]
[flow]
t_end = 100.0
END
spectral-icl flow now.toml --out run.nc > out.txt; status=$?
grep 'emergence of task 0' out.txt >&2
test -e run.nc && test $status = 2 && echo 'and a file' >&2; exit $status

## ten thousand tasks
spectral-icl flow two.toml --set problem.task_sizes=2 --set problem.tasks=10000 --set model.heads=1 > /dev/null

## thirty tasks
spectral-icl optimal two.toml --set problem.task_sizes=2 --set problem.tasks=30 > /dev/null

## six heads on five blocks
cat > six.toml <<'END'
[problem]
block_sizes = [1, 2, 3, 4, 5]
signal = [[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]]
noise = 0.1
context_length = 1
[model]
heads = 6
END
spectral-icl verify six.toml --claim escape-rate --report six.html > /dev/null

## a length of 1 in words
spectral-icl flow two.toml --set problem.context_length=1 | grep -i 'logit' | said

## a flow with a long node_time
python -c "$base
import xarray
si.gradient_flow(p, *start).save('a.nc')
d = xarray.open_dataset('a.nc', engine='h5netcdf').load()
times = np.linspace(0.0, 1e6, 1000 * d.sizes['node'])
d.drop_vars('node_time').assign(node_time=('far', times)).to_netcdf('b.nc', engine='h5netcdf')
s = si.Solution.load('b.nc')
print(s.success, s(9e5).omega)" > out.txt 2>&1; status=$?; said < out.txt; exit $status

## a flow with charts of one entry
python -c "$base
import xarray
si.gradient_flow(p, *start).save('a.nc')
d = xarray.open_dataset('a.nc', engine='h5netcdf').load()
charts = [name for name in d if name.startswith('chart_')]
d.drop_vars(charts).assign({name: ('one', d[name].values[:1]) for name in charts}).to_netcdf('b.nc', engine='h5netcdf')
s = si.Solution.load('b.nc')
print(s.success, s.final_loss)" > out.txt 2>&1; status=$?; said < out.txt; exit $status

## a key of five thousand dots
(cat two.toml; echo; python -c "print('.'.join('a' * 5000), '= 1')") > deep.toml; spectral-icl flow deep.toml > /dev/null

## a plan that was edited
spectral-icl sweep sweep.toml --out s.zarr > /dev/null
sed -i 's/0\.1/0.2/' s.zarr/zarr.json; rm -r s.zarr/status/c
spectral-icl sweep sweep.toml --out s.zarr > /dev/null

## a store without its version
spectral-icl sweep sweep.toml --out s.zarr > /dev/null
sed -i 's/\\"version\\"/\\"verses\\"/' s.zarr/zarr.json; spectral-icl sweep sweep.toml --out s.zarr > /dev/null

## a damaged time
printf '[record]\ntimes = [1.0, 2.0]\n' | cat sweep.toml - > timed.toml
spectral-icl sweep timed.toml --out s.zarr > /dev/null
printf x | dd of=s.zarr/time/c/0 bs=1 seek=3 conv=notrunc 2> /dev/null
spectral-icl sweep timed.toml --out s.zarr > /dev/null && spectral-icl plot s.zarr --out s.pdf > /dev/null

## damaged metadata of an array
spectral-icl sweep sweep.toml --out s.zarr > /dev/null
: > s.zarr/loss/zarr.json; spectral-icl plot s.zarr --out s.pdf > /dev/null

## a saved flow cut short
spectral-icl flow two.toml --out a.nc > /dev/null
truncate -s 6000 a.nc; spectral-icl plot a.nc --out a.pdf > /dev/null

## a malformed dask configuration
mkdir dask; echo 'distributed: [' > dask/x.yaml
DASK_CONFIG=$PWD/dask spectral-icl sweep sweep.toml --out s.zarr --workers 1 > /dev/null; status=$?
test -e s.zarr && echo 'and a store' >&2; exit $status

## tls without configuration
spectral-icl sweep sweep.toml --out s.zarr --scheduler tls://127.0.0.1:1 > /dev/null; status=$?
test -e s.zarr && echo 'and a store' >&2; exit $status

## SIGTERM
sed 's/values.*/linear = [50, 5000, 100000]/' sweep.toml > long.toml
"$PYTHON" -c 'from spectral_icl.cli import main; main()' sweep long.toml --out s.zarr > /dev/null & pid=$!
sleep 4; kill -TERM $pid; wait $pid
