# The operator, and the hub as a program of its own, in an image without shell or package manager.
#
#   docker build -t REGISTRY/private-connect .
#   docker buildx build --platform linux/amd64,linux/arm64 -t REGISTRY/private-connect --push .
#
# The hub alone: docker run --entrypoint /usr/local/bin/connect-hubd REGISTRY/private-connect serve ...

# Compilers run on the builder's own platform and build for the image's.
FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /src

RUN set -eu; \
    case "$TARGETARCH" in \
      amd64) machine=x86_64; debian=x86-64 ;; \
      arm64) machine=aarch64; debian=aarch64 ;; \
      *) echo "this image is made for amd64 and arm64, not for '$TARGETARCH'" >&2; exit 1 ;; \
    esac; \
    if [ "$(uname -m)" != "$machine" ]; then \
      apt-get update; \
      apt-get install --yes --no-install-recommends "gcc-$debian-linux-gnu" "libc6-dev-$TARGETARCH-cross"; \
    fi; \
    rustup target add "$machine-unknown-linux-gnu"; \
    mkdir /out /out/data; \
    echo "$machine" > /machine

COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH \
    set -eu; \
    machine=$(cat /machine); target="$machine-unknown-linux-gnu"; \
    linker="CARGO_TARGET_$(echo "$target" | tr 'a-z-' 'A-Z_')_LINKER"; \
    env "$linker=$machine-linux-gnu-gcc" cargo build --locked --release --target "$target" \
      --package connect-operator --package connect-hubd; \
    cp "target/$target/release/connect-operator" "target/$target/release/connect-hubd" /out/

# glibc and the certificates of public authorities; nothing else.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/connect-operator /out/connect-hubd /usr/local/bin/
# Where a new volume for the hub's state gets its owner from.
COPY --from=build --chown=65532:65532 /out/data /var/lib/private-connect
USER 65532:65532
EXPOSE 3001 8080
ENTRYPOINT ["/usr/local/bin/connect-operator"]
CMD ["run"]
