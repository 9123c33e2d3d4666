import { GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../../api/crd.ts';
import { GROUP, OPERATOR, UPSTREAM_FINALIZER, VERSION } from '../../api/group.ts';
import type { Condition } from '../../api/schema.ts';
import type { Catalog } from '../../catalog.ts';
import { KubeApiError } from '../../kube/kube-error.ts';
import { type KubeTransport, resourcePath } from '../../kube/transport.ts';
import type { GatewayUpstream, GatewayUpstreamSet } from '../../model/objects.ts';
import type { Clock } from '../../runtime/clock.ts';
import { remove } from '../install/applier.ts';
import { InstallError } from '../install/install-error.ts';
import { count, namesOf, type Scope, upstreamsOf } from './scope.ts';

export type FinalizerPolicy = 'refuse' | 'orphan' | 'delete';

interface SettleDeps {
  readonly catalog: Pick<Catalog, 'transforms'>;
  readonly transport: KubeTransport;
  readonly clock: Clock;
  /** Prints one line for the user. */
  readonly print: (line: string) => void;
}

interface SettleOptions {
  readonly namespaces: readonly string[];
  readonly finalizers: FinalizerPolicy;
  readonly timeoutMs: number;
}

/** How long the operator may take to label upstreams as orphaned. It does so at once unless it or its gateway is down. */
const LABEL_TIMEOUT_MS = 30_000;
/** After this long with only upstreams in use, a person must remove the references. */
const IN_USE_TIMEOUT_MS = 10_000;
const NO_PROGRESS_TIMEOUT_MS = 60_000;
const POLL_MS = 250;
const MAX_NAMED = 10;

/** Applies the finalizer policy to the GatewayUpstreams while the operator is still running. */
export async function settleUpstreams(
  deps: SettleDeps,
  scope: Scope,
  options: SettleOptions,
  signal: AbortSignal,
): Promise<void> {
  const { upstreams } = scope;
  if (upstreams.length === 0) return;
  switch (options.finalizers) {
    case 'refuse':
      throw new InstallError(
        `found ${count(upstreams.length, 'GatewayUpstream')} (${namesOf(upstreams)}): set --finalizers=orphan to keep their upstreams in the gateways, or --finalizers=delete to delete both; nothing was changed`,
        3,
      );
    case 'orphan':
      expectUnsharedSets(scope);
      return await orphan(deps, scope, options, signal);
    case 'delete':
      expectUnsharedSets(scope);
      return await deleteAll(deps, scope, options, signal);
    default:
      options.finalizers satisfies never;
  }
}

/** Throws if a set also creates GatewayUpstreams for another operator, which a change of the set would affect. */
function expectUnsharedSets({ sets, others }: Scope): void {
  const shared = sets.find(({ name }) => others.some(({ madeBy }) => madeBy?.set === name));
  if (shared === undefined) return;
  throw new InstallError(
    `GatewayUpstreamSet ${shared.name} also creates GatewayUpstreams in namespaces of another operator: first exclude the namespaces of this operator in its spec.namespaceSelector; nothing was changed`,
    3,
  );
}

/** Sets every deletionPolicy to Orphan and waits until the running operator has labeled the upstreams. */
async function orphan(
  deps: SettleDeps,
  { upstreams, sets }: Scope,
  options: SettleOptions,
  signal: AbortSignal,
): Promise<void> {
  const { clock, print } = deps;
  // Sets come first, because they would revert changes of their GatewayUpstreams.
  for (const set of sets) {
    await patchSpec(deps, setPath(set), { template: { spec: { deletionPolicy: 'Orphan' } } }, signal);
  }
  for (const object of upstreams) {
    if (object.spec.ok && object.spec.value.deletionPolicy === 'Orphan') continue;
    await patchSpec(deps, upstreamPath(object), { deletionPolicy: 'Orphan' }, signal);
  }
  print(`spec.deletionPolicy of ${count(upstreams.length, 'GatewayUpstream')} set to Orphan`);
  const waitMs = Math.min(options.timeoutMs, LABEL_TIMEOUT_MS);
  const deadline = clock.monotonic() + waitMs;
  let unlabeled: readonly GatewayUpstream[];
  for (;;) {
    unlabeled = (
      await upstreamsOf(deps.catalog.transforms, deps.transport, options.namespaces, signal)
    ).filter((object) => !isLabeled(object));
    if (unlabeled.length === 0) {
      print('The operator labeled their upstreams as orphaned. The upstreams stay in the gateways.');
      return;
    }
    if (clock.monotonic() >= deadline) break;
    await clock.sleep(POLL_MS, signal);
  }
  const [first] = unlabeled;
  const why = first === undefined ? undefined : conditionOf(first, 'Programmed')?.message;
  print(
    `The operator did not label the upstreams of ${namesOf(unlabeled)} as orphaned within ${waitMs / 1000} s (${why ?? 'it is not running'}). The upstreams stay in the gateways, and the finalizers are removed. If you later install an operator with the same clusterId, it may delete these upstreams.`,
  );
}

/** Whether the object needs no label, or the operator has applied its current deletionPolicy. */
function isLabeled(object: GatewayUpstream): boolean {
  if (!object.finalizers.includes(UPSTREAM_FINALIZER)) return true;
  // Its set may not have updated the policy yet.
  if (object.spec.ok && object.spec.value.deletionPolicy !== 'Orphan') return false;
  const programmed = conditionOf(object, 'Programmed');
  return programmed?.status === 'True' && (programmed.observedGeneration ?? 0) >= object.generation;
}

function conditionOf({ status }: GatewayUpstream, name: string): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === name);
}

/** Deletes all objects and waits until the operator has deleted their upstreams. */
async function deleteAll(
  deps: SettleDeps,
  { upstreams, sets }: Scope,
  options: SettleOptions,
  signal: AbortSignal,
): Promise<void> {
  const { catalog, transport, clock, print } = deps;
  // Sets come first, because they would create their GatewayUpstreams again.
  for (const set of sets) {
    if (await remove(transport, setPath(set), signal)) print(`GatewayUpstreamSet ${set.name} deleted`);
  }
  for (const object of upstreams) await remove(transport, upstreamPath(object), signal);
  print(
    `${count(upstreams.length, 'GatewayUpstream')} marked for deletion. Waiting for the operator to delete the upstreams.`,
  );
  const begun = clock.monotonic();
  let progress = { left: upstreams.length, at: begun };
  for (;;) {
    const left = await upstreamsOf(catalog.transforms, transport, options.namespaces, signal);
    if (left.length === 0) break;
    // A set may have created one just before its own deletion.
    for (const object of left) {
      if (object.deletionTimestamp === undefined) await remove(transport, upstreamPath(object), signal);
    }
    const now = clock.monotonic();
    if (left.length < progress.left) progress = { left: left.length, at: now };
    const idleMs = now - progress.at;
    if (left.every(isInUse) && idleMs >= IN_USE_TIMEOUT_MS) throw stillInUse(left);
    if (idleMs >= NO_PROGRESS_TIMEOUT_MS || now - begun >= options.timeoutMs)
      throw notDeleted(left, now - begun);
    await clock.sleep(POLL_MS, signal);
  }
  print('The operator deleted all upstreams.');
}

function isInUse(object: GatewayUpstream): boolean {
  return conditionOf(object, 'Ready')?.reason === 'InUse';
}

/** Names the references to each upstream, which the message of the condition contains in parentheses. */
function stillInUse(left: readonly GatewayUpstream[]): InstallError {
  const named = left.slice(0, MAX_NAMED).map((object) => {
    const message = conditionOf(object, 'Ready')?.message ?? '';
    return `${namesOf([object])}: ${/\((.*)\)/.exec(message)?.[1] ?? message}`;
  });
  const more = left.length - named.length;
  return new InstallError(
    `${count(left.length, 'GatewayUpstream')} cannot be deleted, because routes or other objects in the gateway use their upstreams (${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}): remove these references and run this command again, or set --finalizers=orphan. The operator deletes each of these upstreams as soon as it is no longer in use; nothing else was removed`,
    3,
  );
}

function notDeleted(left: readonly GatewayUpstream[], waitedMs: number): InstallError {
  const [first] = left;
  const why = first === undefined ? undefined : conditionOf(first, 'Ready')?.message;
  return new InstallError(
    `the operator did not delete ${count(left.length, 'GatewayUpstream')} within ${Math.round(waitedMs / 1000)} s (${namesOf(left)}): ${why ?? 'check that the operator is running'}; fix this and run this command again, or set --finalizers=orphan. Nothing else was removed`,
    3,
  );
}

function upstreamPath({ namespace, name }: GatewayUpstream): string {
  return resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM.plural, namespace, name });
}

function setPath({ name }: GatewayUpstreamSet): string {
  return resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM_SET.plural, name });
}

/** Merges `spec` into the spec of the object at `path`. Ignores an object that does not exist. */
async function patchSpec(
  { transport }: SettleDeps,
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
