# Compiles what links to C libraries.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends gcc libc6-dev libseccomp-dev pkg-config >/dev/null
