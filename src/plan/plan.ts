import { objectIn, textIn } from '../core/json.ts';
import type { KubeTransport } from '../kube/transport.ts';
import { admit } from './admit.ts';
import { expandSets } from './expand-sets.ts';
import { lookAtGateways, looksIn } from './gateway-looks.ts';
import { type RawObjects, storesOf } from './kinds.ts';
import { makePlan, type Plan } from './make-plan.ts';
import { PlanError } from './plan-error.ts';
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
  readonly requestTimeoutMs: number;
}

/** Rejects with `PlanError`. `note` is told what was left out. */
export async function planFromFiles(
  options: PlanOptions,
  {
    stdin,
    now,
    note,
  }: { readonly stdin: Input; readonly now: number; readonly note: (line: string) => void },
  signal: AbortSignal,
): Promise<Plan> {
  const { objects, ignored } = admit(await readFiles(options.files, stdin), now);
  for (const [type, count] of ignored) note(`ignored: ${count} ${type}`);
  return await planOf(options, within(objects, options.namespaces), now, signal);
}

/** What an operator sees that looks at `namespaces` only; all of it where there are none. */
function within(objects: RawObjects, namespaces: readonly string[]): RawObjects {
  if (namespaces.length === 0) return objects;
  const seen = (raw: unknown) =>
    namespaces.includes(textIn(objectIn(objectIn(raw)['metadata'])['namespace']));
  return {
    ...objects,
    upstreams: objects.upstreams.filter(seen),
    services: objects.services.filter(seen),
    slices: objects.slices.filter(seen),
    grants: objects.grants?.filter(seen),
  };
}

/** Lists, and changes nothing. Rejects with `KubeApiError` or `PlanError`. */
export async function planFromCluster(
  options: PlanOptions,
  { transport, now }: { readonly transport: KubeTransport; readonly now: number },
  signal: AbortSignal,
): Promise<Plan> {
  const withSecrets = options.gatewayState === undefined;
  return await planOf(
    options,
    await readCluster({ ...options, transport, withSecrets }, signal),
    now,
    signal,
  );
}

async function planOf(
  { clusterId: given, gatewayState, only, ...access }: PlanOptions,
  objects: RawObjects,
  now: number,
  signal: AbortSignal,
): Promise<Plan> {
  const stores = expandSets(storesOf(objects), now);
  const clusterId = given ?? stores.namespaces.get('', 'kube-system')?.uid;
  if (clusterId === undefined) {
    throw new PlanError(
      'the id of the cluster is not known, so nothing can be said of whose an upstream is: give --cluster-id, or the Namespace kube-system of the cluster',
    );
  }
  const gateways =
    gatewayState === undefined
      ? await lookAtGateways(stores, access, signal)
      : looksIn(await readDocument(gatewayState), gatewayState, [...stores.connections.list()]);
  return makePlan({ stores, onlyNamespaces: access.namespaces, clusterId, gateways, only, now });
}
