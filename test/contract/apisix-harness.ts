import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { expect } from 'vitest';
import type { ApisixOptions } from '../../src/gateways/apisix/client.ts';
import { createApisixDriver } from '../../src/gateways/apisix/driver.ts';
import type { GatewayDriver } from '../../src/gateways/driver.ts';
import { eventually } from '../support/eventually.ts';
import type { DataPlaneHarness } from './data-plane-reader.ts';
import type { GatewayHarness } from './gateway-driver.ts';

type Gateway = Pick<ApisixOptions, 'adminUrl' | 'adminKey'> & Partial<ApisixOptions>;

/** A driver for `gateway` with timeouts for a slow machine. */
export function apisixDriver(gateway: Gateway): GatewayDriver {
  return createApisixDriver({
    tls: { insecureSkipVerify: false },
    concurrency: 8,
    requestTimeoutMs: 60_000,
    ...gateway,
  });
}

/** Sends a request of another client of the Admin API. Resolves to the status. */
export async function askAdminApi(
  gateway: Gateway,
  method: 'PUT' | 'PATCH' | 'DELETE',
  path: string,
  body?: object,
): Promise<number> {
  const url = new URL(`${gateway.adminUrl}/apisix/admin/${path}`);
  const { ca, clientCert: cert, clientKey: key, serverName: servername } = gateway.tls ?? {};
  return new Promise((resolve, reject) => {
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const headers = { 'X-API-KEY': gateway.adminKey, 'content-type': 'application/json' };
    send(url, { method, headers, ca, cert, key, servername }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    })
      .on('error', reject)
      .end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** A running gateway and its data plane, for the conformance suite of data planes. */
export function apisixDataPlaneHarness(
  gateway: Gateway & { readonly controlUrl: string; readonly proxyUrl: string },
  close: () => Promise<void>,
): DataPlaneHarness {
  const { controlUrl, proxyUrl } = gateway;
  return {
    driver: apisixDriver(gateway),
    controlUrl,
    async route(uri, { id }) {
      const route = `routes/${id}`;
      expect(await askAdminApi(gateway, 'PUT', route, { uri, upstream_id: id })).toBe(201);
      return {
        async [Symbol.asyncDispose]() {
          expect(await askAdminApi(gateway, 'DELETE', route)).toBe(200);
        },
      };
    },
    async request(path) {
      const response = await fetch(`${proxyUrl}${path}`);
      await response.arrayBuffer();
      return response.status;
    },
    [Symbol.asyncDispose]: close,
  };
}

/** A running gateway, for the conformance suite. */
export function apisixHarness(gateway: Gateway, close: () => Promise<void>): GatewayHarness {
  const driver = apisixDriver(gateway);
  const unused = new AbortController().signal;
  return {
    driver,
    async tamper({ id }) {
      expect(await askAdminApi(gateway, 'PATCH', `upstreams/${id}`, { desc: 'edited by hand' })).toBe(200);
    },
    async refer(upstream) {
      const route = `routes/${upstream.id}`;
      const uri = `/${upstream.id}`;
      expect(await askAdminApi(gateway, 'PUT', route, { uri, upstream_id: upstream.id })).toBe(201);
      // Measured with APISIX 3.18: an upstream can still be deleted immediately after the write of its route.
      await eventually(async () => {
        await driver.put(upstream, unused);
        expect(await askAdminApi(gateway, 'DELETE', `upstreams/${upstream.id}`)).toBe(400);
      });
      return {
        async [Symbol.asyncDispose]() {
          expect(await askAdminApi(gateway, 'DELETE', route)).toBe(200);
        },
      };
    },
    [Symbol.asyncDispose]: close,
  };
}
