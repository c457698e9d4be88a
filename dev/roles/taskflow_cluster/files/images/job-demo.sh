#!/bin/sh
# Prints as many numbered lines as its argument says.
set -eu

count=${1:-1}
number=1
while [ "$number" -le "$count" ]; do
    echo "$number of $count: working on it"
    usleep 100000
    number=$((number + 1))
done
