import { once } from 'node:events';
import { Agent, type IncomingMessage, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { monotonicMs } from '../../test/support/monotonic.ts';
import { ConsulServer } from '../../test/support/registries/consul-server.ts';
import type { Effect, LoadedRegistry, LoadInstance } from './registry.ts';

/** Not the name of this machine: the agent removes from its own node what was not registered with it. */
const NODE = { Node: 'load', Address: '198.18.0.20' };
/** How long a reported health lasts. */
const TTL_MS = 1000;

export async function openConsul(floorServices: readonly string[]): Promise<LoadedRegistry> {
  const server = await ConsulServer.start();
  const send = createSender(server.url);
  const register = (service: string, instance: LoadInstance, id: string) =>
    send('/v1/catalog/register', {
      ...NODE,
      Service: { ID: id, Service: service, Address: instance.host, Port: instance.port },
      Check: { CheckID: `health:${id}`, Name: 'health', ServiceID: id, Status: 'passing' },
    });
  return {
    type: 'Consul',
    url: server.url,
    secret: {},
    spec: (url) => ({ type: 'Consul', consul: { servers: [url] } }),
    notification: {
      kind: 'blocking',
      target: { type: 'Consul', url: server.url.href, services: floorServices },
    },
    fill: (service, instances) =>
      server.register(
        service,
        instances.map((instance) => ({
          id: idOf(service, instance),
          address: instance.host,
          port: instance.port,
          status: 'passing',
          node: { name: NODE.Node, address: NODE.Address },
        })),
      ),
    register: (service, instance) => register(service, instance, idOf(service, instance)),
    change: (service, before, after) => register(service, after, idOf(service, before)),
    deregister: (service, instance) =>
      send('/v1/catalog/deregister', { Node: NODE.Node, ServiceID: idOf(service, instance) }),
    async registerExpiring(service, instance) {
      const { from, at } = await send('/v1/agent/service/register', {
        ID: `${idOf(service, instance)}-expiring`,
        Name: service,
        Address: instance.host,
        Port: instance.port,
        Check: { TTL: `${TTL_MS}ms`, Status: 'passing' },
      });
      return { from, at: at + TTL_MS };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** An instance keeps its host when its port changes. */
function idOf(service: string, { host }: LoadInstance): string {
  return `${service}-${host}`;
}

/** Sends PUT requests on connections of its own. */
function createSender(url: URL): (path: string, body: object) => Promise<Effect> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  return async (path, body) => {
    const from = monotonicMs();
    const sent = request(new URL(path, url), { method: 'PUT', agent }).end(JSON.stringify(body));
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    const at = monotonicMs();
    const said = await text(answer);
    if (answer.statusCode !== 200)
      throw new Error(`Consul answered ${answer.statusCode} to ${path}: ${said}`);
    return { from, at };
  };
}
