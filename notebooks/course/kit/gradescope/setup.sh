#!/usr/bin/env bash
# Gradescope runs this once, when it builds the autograder's image (Ubuntu).
set -euo pipefail
apt-get update
# unlearnkit needs Python 3.11 or newer, which the older images have under its own name.
if python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    apt-get install -y python3-venv
    python3 -m venv /opt/course
else
    apt-get install -y python3.11 python3.11-venv
    python3.11 -m venv /opt/course
fi
/opt/course/bin/pip install torch --index-url https://download.pytorch.org/whl/cpu
/opt/course/bin/pip install /autograder/source nbformat
# Student code runs as a user who cannot read the tests and the secret.
useradd --create-home student
chmod -R go-rwx /autograder/source
