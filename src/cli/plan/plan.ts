import type { Catalog } from '../../catalog.ts';
import type { KubeTransport } from '../../kube/transport.ts';
import { objectIn, textIn } from '../../runtime/json.ts';
import { admit } from './admit.ts';
import { expandSets } from './expand-sets.ts';
import { listGateways, parseListings } from './gateway-listings.ts';
import { planResources, type RawObjects, type Stores, storesOf } from './kinds.ts';
import { PlanError } from './plan-error.ts';
import type { PlanInput } from './planned.ts';
import { readCluster } from './read-cluster.ts';
import { type Input, readDocument, readFiles } from './read-files.ts';
import { askRegistries, parseAnswers, type RegistryAnswers, registryReferences } from './registry-answers.ts';

/** The input of `plan`. */
export interface PlanOptions {
  /** `-` is standard input. Empty: read a cluster. */
  readonly files: readonly string[];
  /** File to read upstreams from. Undefined: ask the gateways. */
  readonly gatewayState: string | undefined;
  /** File to read the services of registries from. Undefined: ask the registries. */
  readonly registryState: string | undefined;
  /** Whether the result depends on the services of registries. */
  readonly usesRegistries: boolean;
  /** Objects to show: `NAMESPACE` or `NAMESPACE/NAME`. Empty: all. */
  readonly only: readonly string[];
  readonly clusterId: string | undefined;
  readonly operatorNamespace: string;
  readonly namespaces: readonly string[];
  /** Namespaces whose GatewayUpstreams may refer to Secrets. */
  readonly secretNamespaces: readonly string[];
  readonly watchNodes: boolean;
  readonly watchRegistries: boolean;
  readonly readEndpoints: boolean;
  readonly requestTimeoutMs: number;
}

/** Reads files. Calls `note` for each kind that is ignored. Rejects with `PlanError`. */
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
  const { objects, ignored } = admit(planResources(catalog), await readFiles(options.files, stdin), now);
  for (const [type, count] of ignored) note(`ignored: ${count} ${type}`);
  return await inputOf(catalog, options, within(objects, options), now, signal);
}

/** The objects that an operator with this configuration watches. Nodes in files are always included. */
function within(
  { endpoints, ...objects }: RawObjects,
  { namespaces, readEndpoints }: Pick<PlanOptions, 'namespaces' | 'readEndpoints'>,
): RawObjects {
  const watchedEndpoints = readEndpoints && endpoints !== undefined ? { endpoints } : {};
  if (namespaces.length === 0) return { ...objects, ...watchedEndpoints };
  const isWatched = (raw: unknown) =>
    namespaces.includes(textIn(objectIn(objectIn(raw)['metadata'])['namespace']));
  return {
    ...objects,
    upstreams: objects.upstreams.filter(isWatched),
    services: objects.services.filter(isWatched),
    slices: objects.slices.filter(isWatched),
    grants: objects.grants?.filter(isWatched),
    ...(watchedEndpoints.endpoints === undefined
      ? {}
      : { endpoints: watchedEndpoints.endpoints.filter(isWatched) }),
  };
}

/** Reads a cluster with list requests. Rejects with `KubeApiError` or `PlanError`. */
export async function inputFromCluster(
  options: PlanOptions,
  {
    catalog,
    transport,
    now,
  }: { readonly catalog: Catalog; readonly transport: KubeTransport; readonly now: number },
  signal: AbortSignal,
): Promise<PlanInput> {
  const { gatewayState, registryState, usesRegistries } = options;
  const view = {
    ...options,
    transport,
    asksGateways: gatewayState === undefined,
    asksRegistries: usesRegistries && registryState === undefined,
  };
  return await inputOf(
    catalog,
    options,
    await readCluster(planResources(catalog, options), view, signal),
    now,
    signal,
  );
}

async function inputOf(
  catalog: Catalog,
  options: PlanOptions,
  objects: RawObjects,
  now: number,
  signal: AbortSignal,
): Promise<PlanInput> {
  const { clusterId: given, gatewayState, only, ...access } = options;
  const stores = expandSets(storesOf(planResources(catalog, options), objects, access.secretNamespaces), now);
  const clusterId = given ?? stores.namespaces.get('', 'kube-system')?.uid;
  if (clusterId === undefined) {
    throw new PlanError(
      'the cluster id is unknown, so the owners of upstreams cannot be determined: set --cluster-id, or add the Namespace kube-system of the cluster to the files',
    );
  }
  const [gateways, registries] = await Promise.all([
    gatewayState === undefined
      ? listGateways(catalog.vendor, stores, access, signal)
      : readDocument(gatewayState).then((state) =>
          parseListings(catalog.vendor, state, gatewayState, [...stores.connections.list()]),
        ),
    registryAnswers(catalog, options, stores, signal),
  ]);
  const { namespaces: onlyNamespaces } = access;
  return { catalog, stores, onlyNamespaces, clusterId, gateways, registries, only, now };
}

async function registryAnswers(
  { registryTypes: types }: Catalog,
  { registryState, usesRegistries, operatorNamespace }: PlanOptions,
  stores: Stores,
  signal: AbortSignal,
): Promise<RegistryAnswers> {
  const given = { types, stores, refs: usesRegistries ? registryReferences(stores) : [] };
  return registryState === undefined
    ? await askRegistries({ ...given, operatorNamespace }, signal)
    : parseAnswers(given, await readDocument(registryState), registryState);
}
