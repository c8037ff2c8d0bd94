# Sourced by scripts/quickstart and scripts/test: finds a Python that can make a virtual environment.

# Open MPI does not start without a home directory, though it writes nothing there.
export HOME="${HOME:-${TMPDIR:-/tmp}}"

# Print the path of the first Python that is new enough; explain and fail when there is none.
find_python() {
    seen=
    for candidate in ${DBMPI_PYTHON:+"$DBMPI_PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        # A version manager's shim may exist for a Python that is switched off: only running it tells.
        version=$("$candidate" -c 'import platform; print(platform.python_version())' 2>/dev/null) || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            if "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
                command -v "$candidate"
                return 0
            fi
            version="$version without its venv module"
        fi
        seen="$seen
    $(command -v "$candidate"): $version"
    done
    cat >&2 <<EOF
dbmpi needs Python 3.11 or newer with its venv module; found:${seen:- none}
Install one (Debian, Ubuntu: apt install python3 python3-venv; clusters: often 'module load python'),
or name it: DBMPI_PYTHON=/path/to/python3 $0
EOF
    return 1
}
