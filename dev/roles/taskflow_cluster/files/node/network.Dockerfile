# What the programs in the folder network need to change a node's packet filter: for kube-proxy and the node agent.
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim
FROM ${BASE_IMAGE}
RUN apt-get update -qq \
    && apt-get install -y -qq --no-install-recommends conntrack iptables nftables kmod >/dev/null \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* /usr/share/doc/* /usr/share/locale/* /usr/share/man/*
COPY network/ /usr/local/bin/
