import { EtcdServer } from '../../test/support/registries/etcd-server.ts';
import { clientChanges, timed } from './client-changes.ts';
import type { LoadedRegistry, LoadInstance } from './registry.ts';

/** etcd grants no shorter lease. */
const LEASE_SECONDS = 2;

/** etcd without users, and services in the format HostPort. */
export async function openEtcd(floorServices: readonly string[]): Promise<LoadedRegistry> {
  const server = await EtcdServer.start({ users: false });
  const keyOf = (service: string, { host, port }: LoadInstance) => `/services/${service}/${host}:${port}`;
  const register = (service: string, instance: LoadInstance, fields: object = {}) =>
    server.put(keyOf(service, instance), `${instance.host}:${instance.port}`, fields);
  const deregister = (service: string, instance: LoadInstance) =>
    server.request('/v3/kv/deleterange', { key: Buffer.from(keyOf(service, instance)).toString('base64') });
  return {
    type: 'Etcd',
    url: server.url,
    secret: {},
    spec: (url) => ({ type: 'Etcd', etcd: { servers: [url], format: 'HostPort' } }),
    notification: {
      kind: 'blocking',
      target: { type: 'Etcd', url: server.url.href, services: floorServices },
    },
    ...clientChanges(register, deregister),
    async registerExpiring(service, instance) {
      const { ID, TTL } = (await server.request('/v3/lease/grant', { TTL: LEASE_SECONDS })) as {
        readonly ID: string;
        readonly TTL: string;
      };
      const { from, at } = await timed(() => register(service, instance, { lease: ID }));
      return { from, at: at + Number(TTL) * 1000 };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}
