import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Endpoint } from '../../../src/model/endpoint.ts';
import { systemClock } from '../../../src/runtime/clock.ts';
import { ConsulProtocol } from '../../../src/sources/consul/protocol.ts';
import { type ConsulBackend, consulBackend, consulRegistry } from '../../../src/sources/consul/schema.ts';

/** What the operator reads from an answer of Consul, with the code that reads a real one. */
export async function endpointsInConsulAnswer(
  { headers, body }: { readonly headers: Readonly<Record<string, string>>; readonly body: string },
  options: Partial<ConsulBackend> = {},
): Promise<readonly Endpoint[]> {
  const server = createServer((_, response) => response.writeHead(200, headers).end(body));
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const protocol = new ConsulProtocol({
    section: consulRegistry.parse({ servers: [url.origin] }),
    secret: ({ name }) => ({ ok: false, message: `no Secret ${name}` }),
    limits: {
      concurrentQueries: 1,
      requestsPerSecond: undefined,
      requestTimeoutMs: 30_000,
      pollIntervalMs: 1000,
    },
    clock: systemClock,
  });
  try {
    const query = { service: 'web', options: undefined };
    const request = { query, server: url, cursor: undefined, waitMs: 0, timeoutMs: 30_000 };
    const { instances = [] } = await protocol.ask(request, new AbortController().signal);
    return protocol.endpoints(instances, consulBackend.parse(options));
  } finally {
    protocol.close();
    server.close();
  }
}
