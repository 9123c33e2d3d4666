# syntax=docker/dockerfile:1
# The program is the same for every platform. It is built once, on the platform of the machine, and the image of each platform
# only copies it: a cross build runs nothing under emulation.
FROM --platform=$BUILDPLATFORM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image brings node itself, so the install script of the development dependency `node` is not needed.
RUN npm ci --ignore-scripts
COPY tsconfig.json rolldown.config.ts ./
COPY src ./src
# Source maps are for development.
RUN npx rolldown -c rolldown.config.ts && rm dist/*.map && chmod 755 dist/main.js
# For `kubectl exec`: the program under its own name, on the PATH.
RUN mkdir bin && ln -s /app/dist/main.js bin/gateway-upstream-operator

FROM --platform=$TARGETPLATFORM node:24.21.0-bookworm-slim
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gateway-upstream-operator" \
      org.opencontainers.image.description="Keeps an API gateway's upstream objects equal to what runs in the cluster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /app
ENV NODE_ENV=production
# The modes do not depend on the umask of the machine that made the context. User 65532 must be able to read each file.
COPY --chmod=0644 LICENSE package.json ./
COPY --chmod=0755 --from=build /app/dist ./dist
COPY --from=build /app/bin/ /usr/local/bin/
USER 65532:65532
EXPOSE 8080
# No HEALTHCHECK: Kubernetes ignores it and probes /livez and /readyz.
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["run"]
