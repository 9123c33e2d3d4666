import { connectionPath, GROUP_PATH } from '../test/support/workload.ts';
import type { Backend, Upstream } from './model.ts';
import { SITE_LABEL } from './nodes.ts';
import type { Mode } from './places.ts';
import type { Site } from './site.ts';

/** The addressing mode of upstreams without their own. */
export async function changeAddressing(site: Site, mode: Mode): Promise<void> {
  site.model.addressing = mode;
  await site.api.patch(connectionPath(site.name), {
    spec: { addressing: { nodeSelector: null, ...addressingOf(site, mode) } },
  });
}

function addressingOf(site: Site, mode: Mode): object {
  return mode === 'Node' ? { mode, nodeSelector: { matchLabels: { [SITE_LABEL]: site.name } } } : { mode };
}

function backendsOf(site: Site, backends: readonly Backend[]): readonly object[] {
  return backends.map(({ service, weight, mode }) =>
    mode === 'Registry'
      ? { registryRef: { name: site.name }, service, weight }
      : {
          serviceRef: { name: service, port: 'http' },
          weight,
          ...(mode === undefined ? {} : { addressing: addressingOf(site, mode) }),
        },
  );
}

export async function makeUpstream(
  site: Site,
  given: Pick<Upstream, 'namespace' | 'name' | 'backends' | 'guarded' | 'syncPolicy' | 'deletionPolicy'> &
    Partial<Pick<Upstream, 'id' | 'manage' | 'secret'>>,
): Promise<Upstream> {
  const upstream: Upstream = {
    id: `${given.namespace}.${given.name}`,
    isMember: false,
    manage: 'Object',
    secret: undefined,
    ...given,
    retries: 1,
    state: 'live',
    referred: [],
    edited: true,
    flapped: false,
    begun: false,
    settled: undefined,
  };
  site.model.refer(upstream);
  site.model.owned.add(upstream.id);
  site.model.upstreams.set(upstream.id, upstream);
  await site.api.create(`${GROUP_PATH}/namespaces/${given.namespace}/gatewayupstreams`, {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'GatewayUpstream',
    metadata: { name: given.name },
    spec: {
      connectionRef: { name: site.name },
      backends: backendsOf(site, given.backends),
      ...(upstream.manage === 'Nodes'
        ? { manage: 'Nodes', upstreamId: upstream.id }
        : {
            retries: upstream.retries,
            syncPolicy: given.syncPolicy,
            deletionPolicy: given.deletionPolicy,
          }),
      ...(upstream.secret === undefined
        ? {}
        : { scheme: 'HTTPS', tls: { clientCertificateSecretRef: { name: upstream.secret } } }),
      removalGuard: given.guarded ? { holdFor: '3s' } : { maxRemovalPercent: 100 },
    },
  });
  return upstream;
}

/** Creates an object that requests the id of a foreign upstream. */
export async function makeTrespasser(
  site: Site,
  namespace: string,
  upstreamId: string,
  service: string,
): Promise<void> {
  await site.api.create(`${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams`, {
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'GatewayUpstream',
    metadata: { name: `trespasser-${upstreamId}` },
    spec: {
      connectionRef: { name: site.name },
      upstreamId,
      backends: backendsOf(site, [{ service, weight: 1 }]),
    },
  });
}

export async function editUpstream(
  site: Site,
  upstream: Upstream,
  change: Partial<Pick<Upstream, 'backends' | 'retries' | 'syncPolicy' | 'deletionPolicy'>>,
): Promise<void> {
  Object.assign(upstream, change, { edited: true });
  site.model.refer(upstream);
  if (change.syncPolicy !== undefined) upstream.settled = undefined;
  const { backends, ...plain } = change;
  await site.api.patch(pathOf(upstream), {
    spec: { ...plain, ...(backends === undefined ? {} : { backends: backendsOf(site, backends) }) },
  });
}

export async function removeUpstream(site: Site, upstream: Upstream): Promise<void> {
  upstream.state = 'deleting';
  await site.api.remove(pathOf(upstream));
}

export function pathOf({ namespace, name }: Pick<Upstream, 'namespace' | 'name'>): string {
  return `${GROUP_PATH}/namespaces/${namespace}/gatewayupstreams/${name}`;
}
