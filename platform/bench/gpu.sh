#!/bin/sh
# Measure on one GPU, in under ten minutes, what docs/BENCHMARKS.md has no GPU figure for; one JSON comes out.
#
#   sh platform/bench/gpu.sh                          # writes gpu.json
#   sh platform/bench/gpu.sh --wheels DIR             # installs what is missing from a folder of wheels, without a network
#   sh platform/bench/gpu.sh --tiny                   # seconds on a CPU: checks the script, says nothing about a GPU
#
# Needs torch and timm; what else is missing is named, and the sections that need it are skipped.
set -e
cd "$(dirname "$0")/../.."
[ -n "$PYTHON" ] || PYTHON=$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)
if [ "$1" = "--wheels" ]; then
    for name in numpy scipy pydantic safetensors pillow pyarrow xxhash filelock PyWavelets pytorch-wavelets "setuptools<81" \
        scikit-image scikit-learn httpx rich tyro optuna matplotlib pytest hypothesis; do
        "$PYTHON" -m pip install --quiet --no-index --find-links "$2" "$name" 2>/dev/null || echo "not in $2: $name"
    done
    shift 2
fi
exec "$PYTHON" -W ignore platform/bench/gpu.py "$@"
