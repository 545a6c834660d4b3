#!/usr/bin/env bash
# Gather what scripts/gpu.sh needs on a machine with a GPU, PyTorch and no network, into .gpu/:
# wheels of the packages that are often missing there, MNIST, and CIFAR-10 as JPEG files.
#
#   scripts/pack_gpu.sh [DATA_FOLDER] [--python 3.12]
#
# DATA_FOLDER has MNIST/raw and cifar10-jpeg.tar.gz; the default is $GANATOMY_DATA, then ../shared/data.
set -euo pipefail
cd "$(dirname "$0")/.."
most=$((60 * 1024 * 1024))
data=${GANATOMY_DATA:-../shared/data}
python=3.12
while [ $# -gt 0 ]; do
  case $1 in
    --python) python=$2; shift 2 ;;
    -*) echo "usage: scripts/pack_gpu.sh [DATA_FOLDER] [--python 3.12]" >&2; exit 2 ;;
    *) data=$1; shift ;;
  esac
done

wheels="tyro docstring-parser typeguard rich torch-fidelity pooch platformdirs"
mkdir -p .gpu/wheels .gpu/data
for name in $wheels; do
  # one at a time, so that a name that is not found leaves out only itself
  python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version "$python" \
    --platform manylinux2014_x86_64 --platform any -d .gpu/wheels "$name" ||
    echo "left out: no wheel of $name for Python $python" >&2
done
for name in train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte; do
  if [ -f "$data/MNIST/raw/$name" ]; then
    gzip -9 -n -c "$data/MNIST/raw/$name" > ".gpu/data/$name.gz"
  else
    echo "left out: there is no $data/MNIST/raw/$name" >&2
  fi
done
if [ -f "$data/cifar10-jpeg.tar.gz" ]; then
  cp "$data/cifar10-jpeg.tar.gz" .gpu/data/
else
  echo "left out: there is no $data/cifar10-jpeg.tar.gz" >&2
fi

size=$(du -sb .gpu | cut -f1)
echo ".gpu holds $(find .gpu -type f | wc -l) files of $((size / 1024 / 1024)) MiB; carry it with the checkout"
if [ "$size" -gt "$most" ]; then
  echo "that is more than $((most / 1024 / 1024)) MiB; remove what the studies do not need" >&2
  exit 1
fi
