import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../../src/runtime/clock.ts';
import { instanceOf } from '../../../../src/sources/consul/instances.ts';
import { ConsulProtocol } from '../../../../src/sources/consul/protocol.ts';
import { consulBackend, consulRegistry } from '../../../../src/sources/consul/schema.ts';
import type { InstancesRequest } from '../../../../src/sources/registry-source/protocol.ts';
import { RemovedInstances } from '../../../../src/sources/registry-source/removed-instances.ts';

type Last = NonNullable<InstancesRequest<Parameters<ConsulProtocol['ask']>[0]['cursor']>['cursor']>;

let server: Server;
let url: URL;
let protocol: ConsulProtocol;
let address: string;
let index: number;
let status: number;
let version: string;
let isEmpty: boolean;

beforeEach(async () => {
  address = '10.0.0.1';
  index = 14;
  status = 200;
  version = '1.12.9';
  isEmpty = false;
  server = createServer((request, response) => {
    if (request.url === '/v1/agent/self') {
      response.end(JSON.stringify({ Config: { Version: version } }));
      return;
    }
    const entry = {
      Node: { Node: 'node', Address: address },
      Service: { ID: 'web', Service: 'web', Address: address, Port: 8080 },
      Checks: [],
    };
    response.writeHead(status, { 'x-consul-index': `${index}` }).end(JSON.stringify(isEmpty ? [] : [entry]));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  protocol = create({});
});

const create = (section: object, token = 'a-token') =>
  new ConsulProtocol({
    section: consulRegistry.parse({ servers: [url.href], ...section }),
    secret: () => ({ ok: true, value: token }),
    limits: {
      concurrentQueries: 1,
      requestsPerSecond: undefined,
      requestTimeoutMs: 5000,
      pollIntervalMs: 1000,
    },
    clock: systemClock,
  });

afterEach(() => {
  protocol.close();
  server.close();
});

const ask = (cursor: Last | undefined, waitMs = 0) => {
  const query = { service: 'web', options: undefined };
  return protocol.ask({ query, server: url, cursor, waitMs, timeoutMs: 5000 }, new AbortController().signal);
};

it.each([
  ['at once', 0],
  ['after waiting', 1000],
])('takes other instances under the index of the last answer, %s', async (_, waitMs) => {
  const { cursor } = await ask(undefined);
  address = '10.0.0.2';
  const { instances } = await ask(cursor, waitMs);
  expect(instances?.map((instance) => instance.address)).toEqual(['10.0.0.2']);
});

it('reports no change for equal instances under another index', async () => {
  const first = await ask(undefined);
  index = 15;
  const second = await ask(first.cursor);
  expect(second.instances).toBeUndefined();
  expect(second.cursor).toMatchObject({ index: 15 });
  expect(second.cursor.instances).toBe(first.instances);
});

it.each([
  [400, 'service'],
  [429, 'server'],
  [404, 'server'],
  [500, 'server'],
  [403, 'registry'],
])('concerns with status %s the %s', async (answered, scope) => {
  status = answered;
  await expect(ask(undefined)).rejects.toMatchObject({ scope });
});

it('does not show the server to tenants, who see the problem of their service', async () => {
  status = 400;
  const error = await ask(undefined).catch((reason: unknown) => reason);
  expect(error).toMatchObject({ scope: 'service', message: expect.not.stringContaining(url.host) });
});

it.each(['two words', 'a\ntoken', 'caf\u00e9'])(
  'sends no token that a header cannot have: %j',
  async (token) => {
    protocol.close();
    protocol = create({ tokenSecretRef: { name: 'consul', key: 'token' } }, token);
    const error = await ask(undefined).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      reason: 'SecretMissing',
      scope: 'registry',
      message:
        'Secret consul has an entry token that contains spaces, line breaks or characters outside ASCII: store only the token in it',
    });
  },
);

it('rejects an empty list from a Consul before 1.11 with a token, until Consul is upgraded', async () => {
  protocol.close();
  protocol = create({ tokenSecretRef: { name: 'consul', key: 'token' } });
  const readVersion = () => protocol.version({ server: url, timeoutMs: 5000 }, new AbortController().signal);
  version = '1.10.12';
  await readVersion();
  expect((await ask(undefined)).instances).toHaveLength(1);
  isEmpty = true;
  await expect(ask(undefined)).rejects.toMatchObject({ reason: 'Filtered', scope: 'registry' });
  version = '1.11.0-beta1';
  expect((await ask(undefined)).instances).toEqual([]);
});

it('accepts an empty list from every version of Consul without a token', async () => {
  version = '1.10.12';
  await protocol.version({ server: url, timeoutMs: 5000 }, new AbortController().signal);
  isEmpty = true;
  expect((await ask(undefined)).instances).toEqual([]);
});

it.each([
  ['Service', '10.0.0.2'],
  ['Lan', '10.0.0.3'],
  ['Wan', '192.0.2.1'],
] as const)(
  'explains the removal of a listed instance that a backend with address %s does not select',
  (use, host) => {
    const removed = new RemovedInstances(protocol);
    removed.note([
      instanceOf({
        Node: { Node: 'node', Address: '10.0.0.1' },
        Service: {
          ID: 'web',
          Service: 'web',
          Address: '10.0.0.2',
          Port: 80,
          Tags: ['old'],
          TaggedAddresses: {
            lan: { Address: '10.0.0.3', Port: 80 },
            wan: { Address: '192.0.2.1', Port: 80 },
          },
        },
        Checks: [],
      }),
    ]);
    const causeAt = (address: string) =>
      removed.cause(
        { kind: 'address', address, port: 80 },
        consulBackend.parse({ address: use, tags: ['new'] }),
        true,
      );
    expect(causeAt(host)).toBe('explained');
    expect(causeAt('10.0.0.9')).toBe('unknown');
  },
);

it('follows a service once, whatever the case of its name, which Consul ignores', () => {
  const keyOf = (service: string) => protocol.key({ service, options: undefined });
  expect(keyOf('Web')).toBe(keyOf('web'));
  expect(keyOf('web-2')).not.toBe(keyOf('web'));
});
