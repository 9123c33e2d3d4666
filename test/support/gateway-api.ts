import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ClusterAccess } from './control-plane/cluster-access.ts';

/** Two releases: the first serves ReferenceGrants only as v1beta1, the second also as v1. */
export type GatewayApiRelease = 'v1.4.0' | 'v1.6.0';

const CRD = 'referencegrants.gateway.networking.k8s.io';
const MODULE_DIR = fileURLToPath(new URL('../control-plane/', import.meta.url));

/** Applies the ReferenceGrant CRD of a release of the Gateway API from Go's module cache. */
export async function installReferenceGrants(
  cluster: ClusterAccess,
  release: GatewayApiRelease,
): Promise<void> {
  const { stdout } = await promisify(execFile)(
    'go',
    ['mod', 'download', '-json', `sigs.k8s.io/gateway-api@${release}`],
    { cwd: MODULE_DIR },
  );
  const { Dir: dir } = JSON.parse(stdout) as { readonly Dir: string };
  const file = join(dir, 'config/crd/standard/gateway.networking.k8s.io_referencegrants.yaml');
  const input = await readFile(file, 'utf8');
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], { input });
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', `crd/${CRD}`]);
}

/** Stops serving v1beta1, like a later release. */
export async function retireReferenceGrantsBeta(cluster: ClusterAccess): Promise<void> {
  const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${CRD}`;
  const { body } = await cluster.request('GET', path);
  const { spec } = body as {
    readonly spec: { readonly versions: readonly { readonly name: string }[] };
  };
  const versions = spec.versions.map((version) =>
    version.name === 'v1beta1' ? { ...version, served: false } : version,
  );
  const { status } = await cluster.request('PATCH', path, { spec: { versions } });
  if (status !== 200) throw new Error(`PATCH ${path}: ${status}`);
}

/** Removes the CRD and all grants. */
export async function removeReferenceGrants(cluster: ClusterAccess): Promise<void> {
  await cluster.kubectl(['delete', '--wait', '--timeout=60s', 'crd', CRD]);
}

/** Creates or replaces a grant for GatewayUpstreams in `from` to refer to one Service, or to all Services without a name. */
export async function writeReferenceGrant(
  cluster: ClusterAccess,
  version: 'v1' | 'v1beta1',
  { namespace, name, from, service }: GrantOptions,
): Promise<void> {
  const grant = {
    apiVersion: `gateway.networking.k8s.io/${version}`,
    kind: 'ReferenceGrant',
    metadata: { name, namespace },
    spec: {
      from: [{ group: 'gatewayupstream.dev', kind: 'GatewayUpstream', namespace: from }],
      to: [{ group: '', kind: 'Service', ...(service === undefined ? {} : { name: service }) }],
    },
  };
  await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(grant) });
}

interface GrantOptions {
  readonly namespace: string;
  readonly name: string;
  readonly from: string;
  readonly service?: string;
}
