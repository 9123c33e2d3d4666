import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../api/crd.ts';
import { CONNECTION_FINALIZER, GROUP, OPERATOR, UPSTREAM_FINALIZER, VERSION } from '../api/group.ts';
import type { Condition } from '../api/schema.ts';
import { KubeApiError } from '../kube/kube-error.ts';
import { listAll } from '../kube/list-all.ts';
import { type CustomKind, createObjectWriter } from '../kube/object-writer.ts';
import {
  type CustomObject,
  type GatewayUpstream,
  type GatewayUpstreamSet,
  trimGatewayConnection,
  trimGatewayUpstream,
  trimGatewayUpstreamSet,
} from '../kube/objects.ts';
import { type KubeTransport, resourcePath } from '../kube/transport.ts';
import type { Clock } from '../runtime/clock.ts';
import { tokenSecret } from './access.ts';
import { held, nameOf, pathOf, remove } from './applier.ts';
import { InstallError } from './install-error.ts';
import { type Manifest, manifestsOf } from './manifests.ts';
import { isOwn, OWN_LABEL, otherInstallation } from './other-installation.ts';

export type FinalizerPolicy = 'refuse' | 'orphan' | 'delete';

export interface UninstallOptions {
  readonly namespace: string;
  /** What becomes of living GatewayUpstreams. */
  readonly finalizers: FinalizerPolicy;
  readonly keepCrds: boolean;
  readonly keepRbac: boolean;
  /** How long to wait for the operator. */
  readonly timeoutMs: number;
}

export interface UninstallDeps {
  readonly transport: KubeTransport;
  readonly clock: Clock;
  /** One line for the user. */
  readonly say: (line: string) => void;
}

/** For the operator to mark upstreams as orphans: it does so at once, or it does not run, or its gateway is down. */
const MARKED_WITHIN_MS = 30_000;
const LOOK_EVERY_MS = 250;
/** A running operator may put a finalizer back between two looks; one without rights may not. */
const MAX_PASSES = 5;
const NAMED = 10;

/**
 * Takes away what `install` applied. Refuses to while there are GatewayUpstreams, unless told what becomes of them.
 * Rejects with `KubeApiError` or `InstallError`.
 */
export async function uninstall(
  deps: UninstallDeps,
  options: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const { say } = deps;
  if (!options.keepRbac) await expectOwnInstallation(deps, options.namespace, signal);
  const upstreams = await upstreamsOf(deps, signal);
  if (upstreams.length > 0) {
    switch (options.finalizers) {
      case 'refuse':
        throw new InstallError(
          `${count(upstreams.length, 'GatewayUpstream')} still there (${namesOf(upstreams)}): give --finalizers=orphan to leave their upstreams in the gateways, or --finalizers=delete to delete those too; nothing was changed`,
        );
      case 'orphan':
        await orphan(deps, upstreams, options, signal);
        break;
      case 'delete':
        await deleteAll(deps, upstreams, options, signal);
        break;
      default:
        options.finalizers satisfies never;
    }
  }
  // Bindings go first: an operator that still runs cannot put a finalizer back then.
  if (!options.keepRbac) await removeRbac(deps, options.namespace, signal);
  await releaseFinalizers(deps, signal);
  if (options.keepCrds) {
    say(
      'The CRDs stay, and with them every GatewayConnection, GatewayUpstream and GatewayUpstreamSet, without finalizers.',
    );
  } else {
    await removeCrds(deps, options, signal);
  }
  if (!options.keepRbac) {
    say(
      `Done. Next: stop the operator if it still runs. Namespace ${options.namespace} stays, with the Secrets in it: kubectl delete namespace ${options.namespace} removes it.`,
    );
  }
}

/** Throws for an installation in another namespace: its rights and CRDs are not to be taken away by mistake. */
async function expectOwnInstallation(
  { transport }: UninstallDeps,
  namespace: string,
  signal: AbortSignal,
): Promise<void> {
  const other = await otherInstallation(transport, namespace, signal);
  if (other === undefined) return;
  throw new InstallError(
    `the installation of this cluster is in namespace ${other}: give --namespace ${other}; nothing was changed`,
    3,
  );
}

/** Sets every policy to Orphan and gives a running operator the time to mark the upstreams. */
async function orphan(
  deps: UninstallDeps,
  upstreams: readonly GatewayUpstream[],
  { timeoutMs }: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const { clock, say } = deps;
  // First, or a set would take back what becomes of its GatewayUpstreams.
  for (const set of await setsOf(deps, signal)) {
    await patchSpec(deps, setPath(set), { template: { spec: { deletionPolicy: 'Orphan' } } }, signal);
  }
  for (const object of upstreams) {
    if (object.spec.ok && object.spec.value.deletionPolicy === 'Orphan') continue;
    await patchSpec(deps, upstreamPath(object), { deletionPolicy: 'Orphan' }, signal);
  }
  say(`spec.deletionPolicy is Orphan now on ${count(upstreams.length, 'GatewayUpstream')}`);
  const waitMs = Math.min(timeoutMs, MARKED_WITHIN_MS);
  const deadline = clock.monotonic() + waitMs;
  let unmarked: readonly GatewayUpstream[];
  for (;;) {
    unmarked = (await upstreamsOf(deps, signal)).filter((object) => !isMarked(object));
    if (unmarked.length === 0) {
      say('The operator marked their upstreams: they stay in the gateways.');
      return;
    }
    if (clock.monotonic() >= deadline) break;
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
  const [first] = unmarked;
  const why = first === undefined ? undefined : programmedOf(first)?.message;
  say(
    `The operator did not mark the upstreams of ${namesOf(unmarked)} within ${waitMs / 1000} s (${why ?? 'it does not run'}): they stay in the gateways all the same, but an operator with the same clusterId that is installed later may delete them. Their finalizers are removed without it.`,
  );
}

/** Whether nothing of the object needs a mark, or the operator wrote it with the policy that the object has now. */
function isMarked(object: GatewayUpstream): boolean {
  if (!object.finalizers.includes(UPSTREAM_FINALIZER)) return true;
  // Its set may not have heard yet that its own policy changed.
  if (object.spec.ok && object.spec.value.deletionPolicy !== 'Orphan') return false;
  const programmed = programmedOf(object);
  return programmed?.status === 'True' && (programmed.observedGeneration ?? 0) >= object.generation;
}

function programmedOf({ status }: GatewayUpstream): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === 'Programmed');
}

/** Deletes every object and waits for the operator to delete the upstreams. */
async function deleteAll(
  deps: UninstallDeps,
  upstreams: readonly GatewayUpstream[],
  { timeoutMs }: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const { transport, clock, say } = deps;
  // First, or they would make their GatewayUpstreams anew.
  for (const set of await setsOf(deps, signal)) {
    if (await remove(transport, setPath(set), signal)) say(`GatewayUpstreamSet ${set.name} deleted`);
  }
  for (const object of upstreams) await remove(transport, upstreamPath(object), signal);
  say(
    `${count(upstreams.length, 'GatewayUpstream')} told to go; waiting for the operator to delete the upstreams`,
  );
  const deadline = clock.monotonic() + timeoutMs;
  for (;;) {
    const left = await upstreamsOf(deps, signal);
    if (left.length === 0) break;
    // A set may have made one in the moment before it went.
    for (const object of left) {
      if (object.deletionTimestamp === undefined) await remove(transport, upstreamPath(object), signal);
    }
    const [first] = left;
    if (clock.monotonic() >= deadline && first !== undefined) {
      const why = first.status?.conditions?.find(({ type }) => type === 'Ready')?.message;
      throw new InstallError(
        `${count(left.length, 'GatewayUpstream')} still there after ${timeoutMs / 1000} s (${namesOf(left)}): ${why ?? 'does the operator run?'}; solve that and run this command again, or give --finalizers=orphan. Nothing else was removed`,
      );
    }
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
  say('The operator deleted every upstream.');
}

/** Takes our finalizers from everything, so that nothing waits for an operator that is gone. */
async function releaseFinalizers(deps: UninstallDeps, signal: AbortSignal): Promise<void> {
  const writer = createObjectWriter(deps.transport);
  const kinds = [
    { kind: 'GatewayUpstream', finalizer: UPSTREAM_FINALIZER, list: upstreamsOf },
    { kind: 'GatewayConnection', finalizer: CONNECTION_FINALIZER, list: connectionsOf },
  ] as const satisfies readonly { readonly kind: CustomKind; readonly [field: string]: unknown }[];
  for (const { kind, finalizer, list } of kinds) {
    for (let pass = 0; pass < MAX_PASSES; pass += 1) {
      const holding = (await list(deps, signal)).filter(({ finalizers }) => finalizers.includes(finalizer));
      if (holding.length === 0) break;
      for (const object of holding) await writer.removeFinalizer(kind, object, finalizer, signal);
      deps.say(`Finalizer ${finalizer} removed from ${count(holding.length, kind)}: ${namesOf(holding)}`);
      if (pass + 1 < MAX_PASSES) await deps.clock.sleep(LOOK_EVERY_MS, signal);
    }
  }
}

async function removeRbac(deps: UninstallDeps, namespace: string, signal: AbortSignal): Promise<void> {
  const { transport } = deps;
  const inOneNamespace: Manifest[] = [];
  for (const kind of ['RoleBinding', 'Role']) {
    const path = resourcePath({
      group: 'rbac.authorization.k8s.io',
      version: 'v1',
      plural: `${kind.toLowerCase()}s`,
    });
    const query = { labelSelector: `${OWN_LABEL}=${OPERATOR}` };
    const found = (await listAll(transport, path, query, signal)) ?? [];
    for (const { metadata } of found as readonly Manifest[]) {
      inOneNamespace.push({ apiVersion: 'rbac.authorization.k8s.io/v1', kind, metadata });
    }
  }
  const others = manifestsOf({ namespace, namespaces: [], secretNamespaces: [], crdsOnly: false }).filter(
    ({ kind }) => ['ClusterRoleBinding', 'ClusterRole', 'ServiceAccount'].includes(kind),
  );
  const order = ['ClusterRoleBinding', 'RoleBinding', 'ClusterRole', 'Role', 'Secret', 'ServiceAccount'];
  const all = [...others, ...inOneNamespace, tokenSecret(namespace)].toSorted(
    (a, b) => order.indexOf(a.kind) - order.indexOf(b.kind),
  );
  for (const object of all) await removeOwn(deps, object, signal);
}

/** Deletes `object`, unless somebody else than `install` made it. */
async function removeOwn(
  { transport, say }: UninstallDeps,
  object: Manifest,
  signal: AbortSignal,
): Promise<void> {
  const path = pathOf(object);
  const found = await held(transport, path, signal);
  if (found === undefined) return;
  if (!isOwn(found)) {
    const manager = found.metadata.labels?.[OWN_LABEL];
    say(
      `${nameOf(object)} left: ${manager === undefined ? 'install did not make it' : `${manager} manages it`}`,
    );
    return;
  }
  if (await remove(transport, path, signal)) say(`${nameOf(object)} deleted`);
}

async function removeCrds(
  { transport, clock, say }: UninstallDeps,
  { timeoutMs }: UninstallOptions,
  signal: AbortSignal,
): Promise<void> {
  const crds = manifestsOf({ namespace: '', namespaces: [], secretNamespaces: [], crdsOnly: true });
  const going: Manifest[] = [];
  for (const crd of crds) if (await remove(transport, pathOf(crd), signal)) going.push(crd);
  const deadline = clock.monotonic() + timeoutMs;
  for (const crd of going) {
    while ((await held(transport, pathOf(crd), signal)) !== undefined) {
      if (clock.monotonic() >= deadline) {
        throw new InstallError(
          `${nameOf(crd)} is not gone after ${timeoutMs / 1000} s: look for objects with finalizers that are not of this program`,
        );
      }
      await clock.sleep(LOOK_EVERY_MS, signal);
    }
    say(`${nameOf(crd)} deleted`);
  }
}

function upstreamPath({ namespace, name }: GatewayUpstream): string {
  return resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM.plural, namespace, name });
}

function setPath({ name }: GatewayUpstreamSet): string {
  return resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM_SET.plural, name });
}

const setsOf = (deps: UninstallDeps, signal: AbortSignal) =>
  objectsOf(deps, GATEWAY_UPSTREAM_SET.plural, trimGatewayUpstreamSet, signal);

const upstreamsOf = (deps: UninstallDeps, signal: AbortSignal) =>
  objectsOf(deps, GATEWAY_UPSTREAM.plural, trimGatewayUpstream, signal);

const connectionsOf = (deps: UninstallDeps, signal: AbortSignal) =>
  objectsOf(deps, GATEWAY_CONNECTION.plural, trimGatewayConnection, signal);

async function objectsOf<T>(
  { transport }: UninstallDeps,
  plural: string,
  trim: (raw: unknown) => T | undefined,
  signal: AbortSignal,
): Promise<readonly T[]> {
  const path = resourcePath({ group: GROUP, version: VERSION, plural });
  const raw = (await listAll(transport, path, {}, signal)) ?? [];
  return raw.map(trim).filter((object) => object !== undefined);
}

/** Merges `spec` into that of the object at `path`; one that is gone needs nothing. */
async function patchSpec(
  { transport }: UninstallDeps,
  path: string,
  spec: object,
  signal: AbortSignal,
): Promise<void> {
  try {
    await transport.send({
      method: 'PATCH',
      path,
      query: { fieldManager: OPERATOR },
      contentType: 'application/merge-patch+json',
      body: { spec },
      signal,
    });
  } catch (error) {
    if (!(error instanceof KubeApiError && error.status === 404)) throw error;
  }
}

function count(number: number, kind: string): string {
  return `${number} ${kind}${number === 1 ? '' : 's'}`;
}

/** The first few by name. */
function namesOf(objects: readonly Pick<CustomObject<unknown, unknown>, 'namespace' | 'name'>[]): string {
  const names = objects
    .slice(0, NAMED)
    .map(({ namespace, name }) => (namespace === '' ? name : `${namespace}/${name}`));
  const more = objects.length - names.length;
  return `${names.join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
