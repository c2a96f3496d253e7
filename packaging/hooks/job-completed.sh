#!/bin/sh -e
# Announces the job's end. Fails the job where there is no account of it; with `--fail-on high`, for findings too.
exec /usr/bin/runner-agent job stop --deadline 20
