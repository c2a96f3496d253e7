#!/bin/sh -e
# The runner fails the job when this fails, and this fails when the job can't be watched as its policy says.
exec /usr/bin/runner-agent job start --deadline 20 --on-failure fail
