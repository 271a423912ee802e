#!/bin/sh
# measure_bundle.sh PROGRAM CONFIGS FOLDER: everything a GPU machine without compilers and packages needs to
# measure. Copy FOLDER there and run FOLDER/measure --plan default --out measured/ --budget 1500 --resume
set -eu
program=$1 configs=$2 folder=$3
rm -rf "$folder"
mkdir -p "$folder/bin" "$folder/lib" "$folder/share/tessera/configs"
cp "$program" "$folder/bin/tessera-measure"
cp -r "$configs/measure" "$folder/share/tessera/configs/"
# The C library is the machine's own; what is newer than it or not part of a bare system comes along.
ldd "$program" | awk '/lib(fmt|yaml-cpp|stdc\+\+|gcc_s)/ { print $3 }' | while read -r library; do
  cp -L "$library" "$folder/lib/"
done
commit=$(git -C "$configs" describe --always --dirty 2>/dev/null || echo unknown)
cat >"$folder/measure" <<SCRIPT
#!/bin/sh
here=\$(CDPATH='' cd -- "\$(dirname -- "\$0")" && pwd)
export TESSERA_COMMIT="\${TESSERA_COMMIT:-$commit}"
export LD_LIBRARY_PATH="\$here/lib\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "\$here/bin/tessera-measure" "\$@"
SCRIPT
chmod +x "$folder/measure"
