# The service proxy with everything that its modes and labs need. To try it: docker run --rm --privileged IMAGE demo
# With --target slim: only what `kproxy run` needs, on the nodes of a cluster (deploy/).
#
# If you use your own package index, pass pip's settings at build time; they are not stored in the image:
#   docker build --secret id=pip.conf,src=/etc/pip.conf --secret id=ca.pem,src=ca-certificates.crt .
# where pip.conf says `cert = /run/secrets/ca.pem`.
ARG BASE=debian:12-slim

FROM ${BASE} AS wheels
RUN apt-get -q update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends \
        gcc libc6-dev python3-dev python3-venv
WORKDIR /build
COPY requirements.lock requirements-build.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    python3 -m venv tools && tools/bin/pip install --no-deps -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY kproxy kproxy
COPY backends backends
COPY examples examples
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf --mount=type=secret,id=ca.pem \
    tools/bin/pip wheel --no-build-isolation --use-pep517 --constraint requirements.lock --wheel-dir wheels . \
    && python3 -m venv --without-pip /opt/kproxy \
    && tools/bin/pip --python /opt/kproxy/bin/python install --no-index --no-deps wheels/*.whl

# Without what only labs, reports and tests import, and without the client library's asynchronous half.
FROM wheels AS slim-packages
RUN tools/bin/pip --python /opt/kproxy/bin/python uninstall --yes --quiet \
        aiohttp aiohttp-retry aiosignal attrs aiohappyeyeballs dnspython frozenlist iniconfig markdown-it-py mdurl \
        multidict packaging pluggy propcache Pygments pytest rich scapy yarl \
    && rm -rf /opt/kproxy/lib/python3*/site-packages/kubernetes/aio

FROM ${BASE} AS slim
RUN apt-get -q update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends iptables kmod nftables python3 \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt
COPY --from=slim-packages /opt/kproxy /opt/kproxy
ENV PATH=/opt/kproxy/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["kproxy"]

FROM ${BASE}
# user-mode-linux (116 MB, x86-64 only) is for ipvs mode if the machine's kernel has no IPVS, and tcc
# for its sake (kproxy/kernel/uml/xstate.py).
RUN apt-get -q update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends \
        conntrack iproute2 ipset iptables ipvsadm kmod nftables nginx-light openssl python3 \
        $(if [ "$(dpkg --print-architecture)" = amd64 ]; then echo user-mode-linux tcc; fi) \
    && apt-get clean && rm -rf /var/lib/apt/lists/* /var/log/*.log /var/log/apt
COPY --from=wheels /opt/kproxy /opt/kproxy
ENV PATH=/opt/kproxy/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENTRYPOINT ["kproxy"]
