import type { Catalog } from '../../catalog.ts';
import type { KubeTransport } from '../../kube/transport.ts';
import { objectIn, textIn } from '../../runtime/json.ts';
import { admit } from './admit.ts';
import { expandSets } from './expand-sets.ts';
import { lookAtGateways, looksIn } from './gateway-looks.ts';
import { type RawObjects, storesOf } from './kinds.ts';
import { PlanError } from './plan-error.ts';
import type { PlanInput } from './planned.ts';
import { readCluster } from './read-cluster.ts';
import { type Input, readDocument, readFiles } from './read-files.ts';

/** What to plan from. */
export interface PlanOptions {
  /** `-` is standard input. Empty: a cluster. */
  readonly files: readonly string[];
  /** Instead of asking the gateways. */
  readonly gatewayState: string | undefined;
  /** `NAMESPACE` or `NAMESPACE/NAME`. Empty: everything. */
  readonly only: readonly string[];
  readonly clusterId: string | undefined;
  readonly operatorNamespace: string;
  readonly namespaces: readonly string[];
  /** Where GatewayUpstreams may refer to Secrets. */
  readonly secretNamespaces: readonly string[];
  readonly watchNodes: boolean;
  readonly readEndpoints: boolean;
  readonly requestTimeoutMs: number;
}

/** Rejects with `PlanError`. `note` is told what was left out. */
export async function inputFromFiles(
  options: PlanOptions,
  {
    catalog,
    stdin,
    now,
    note,
  }: {
    readonly catalog: Catalog;
    readonly stdin: Input;
    readonly now: number;
    readonly note: (line: string) => void;
  },
  signal: AbortSignal,
): Promise<PlanInput> {
  const { objects, ignored } = admit(catalog.followedResources, await readFiles(options.files, stdin), now);
  for (const [type, count] of ignored) note(`ignored: ${count} ${type}`);
  return await inputOf(catalog, options, within(objects, options), now, signal);
}

/** What an operator of this configuration sees. Nodes in files are there to be looked at. */
function within(
  { endpoints, ...objects }: RawObjects,
  { namespaces, readEndpoints }: Pick<PlanOptions, 'namespaces' | 'readEndpoints'>,
): RawObjects {
  const written = readEndpoints && endpoints !== undefined ? { endpoints } : {};
  if (namespaces.length === 0) return { ...objects, ...written };
  const seen = (raw: unknown) =>
    namespaces.includes(textIn(objectIn(objectIn(raw)['metadata'])['namespace']));
  return {
    ...objects,
    upstreams: objects.upstreams.filter(seen),
    services: objects.services.filter(seen),
    slices: objects.slices.filter(seen),
    grants: objects.grants?.filter(seen),
    ...(written.endpoints === undefined ? {} : { endpoints: written.endpoints.filter(seen) }),
  };
}

/** Lists, and changes nothing. Rejects with `KubeApiError` or `PlanError`. */
export async function inputFromCluster(
  options: PlanOptions,
  {
    catalog,
    transport,
    now,
  }: { readonly catalog: Catalog; readonly transport: KubeTransport; readonly now: number },
  signal: AbortSignal,
): Promise<PlanInput> {
  const isAsked = options.gatewayState === undefined;
  return await inputOf(
    catalog,
    options,
    await readCluster(catalog.followedResources, { ...options, transport, withAdminKeys: isAsked }, signal),
    now,
    signal,
  );
}

async function inputOf(
  catalog: Catalog,
  { clusterId: given, gatewayState, only, ...access }: PlanOptions,
  objects: RawObjects,
  now: number,
  signal: AbortSignal,
): Promise<PlanInput> {
  const stores = expandSets(storesOf(catalog.followedResources, objects, access.secretNamespaces), now);
  const clusterId = given ?? stores.namespaces.get('', 'kube-system')?.uid;
  if (clusterId === undefined) {
    throw new PlanError(
      'the id of the cluster is not known, so nothing can be said of whose an upstream is: give --cluster-id, or the Namespace kube-system of the cluster',
    );
  }
  const gateways =
    gatewayState === undefined
      ? await lookAtGateways(catalog.vendor, stores, access, signal)
      : looksIn(catalog.vendor, await readDocument(gatewayState), gatewayState, [
          ...stores.connections.list(),
        ]);
  return { catalog, stores, onlyNamespaces: access.namespaces, clusterId, gateways, only, now };
}
