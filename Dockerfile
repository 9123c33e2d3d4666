# syntax=docker/dockerfile:1
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image brings node itself, so the install script of the development dependency `node` is not needed.
RUN npm ci --ignore-scripts
COPY tsconfig.json rolldown.config.ts ./
COPY src ./src
RUN npx rolldown -c rolldown.config.ts && npm ci --ignore-scripts --omit=dev
# For `kubectl exec`: the program under its own name, on the PATH.
RUN mkdir bin && ln -s /app/dist/main.js bin/gateway-upstream-operator && chmod 755 dist/main.js

FROM node:24.21.0-bookworm-slim
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="gateway-upstream-operator" \
      org.opencontainers.image.description="Keeps an API gateway's upstream objects equal to what runs in the cluster" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY --from=build /app/bin/ /usr/local/bin/
USER 65532:65532
EXPOSE 8080
# No HEALTHCHECK: Kubernetes ignores it and probes /livez and /readyz.
ENTRYPOINT ["node", "/app/dist/main.js"]
CMD ["run"]
