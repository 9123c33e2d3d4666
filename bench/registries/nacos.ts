import { NACOS_USER, NacosServer } from '../../test/support/registries/nacos-server.ts';
import { clientChanges, timed } from './client-changes.ts';
import type { LoadedRegistry, LoadInstance } from './registry.ts';

const INSTANCE_PATH = '/nacos/v3/client/ns/instance';
/** The default of `pollInterval`. */
const POLL_INTERVAL_MS = 5000;
/** An instance becomes unhealthy this long after its only heartbeat: the operator must have seen it before. */
const HEARTBEAT_TIMEOUT_MS = 12_000;
const NEVER_MS = 86_400_000;

export async function openNacos(): Promise<LoadedRegistry> {
  const server = await NacosServer.start();
  const register = (service: string, instance: LoadInstance, heartbeatTimeoutMs = NEVER_MS) =>
    server.request('POST', INSTANCE_PATH, {
      ...fieldsOf(service, instance),
      healthy: 'true',
      metadata: JSON.stringify({
        'preserved.heart.beat.timeout': `${heartbeatTimeoutMs}`,
        'preserved.ip.delete.timeout': `${NEVER_MS}`,
      }),
    });
  const deregister = (service: string, instance: LoadInstance) =>
    server.request('DELETE', INSTANCE_PATH, fieldsOf(service, instance));
  return {
    type: 'Nacos',
    url: server.url,
    secret: { ...NACOS_USER },
    spec: (url) => ({
      type: 'Nacos',
      nacos: {
        servers: [url],
        usernameSecretRef: { name: 'registry' },
        passwordSecretRef: { name: 'registry' },
      },
    }),
    notification: { kind: 'poll', intervalMs: POLL_INTERVAL_MS },
    ...clientChanges(register, deregister),
    async registerExpiring(service, instance) {
      const { from, at } = await timed(() => register(service, instance, HEARTBEAT_TIMEOUT_MS));
      return { from, at: at + HEARTBEAT_TIMEOUT_MS };
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function fieldsOf(serviceName: string, { host, port }: LoadInstance): Readonly<Record<string, string>> {
  return {
    namespaceId: 'public',
    groupName: 'DEFAULT_GROUP',
    serviceName,
    ip: host,
    port: `${port}`,
    ephemeral: 'true',
  };
}
