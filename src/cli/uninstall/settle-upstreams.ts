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
  /** One line for the user. */
  readonly print: (line: string) => void;
}

interface SettleOptions {
  readonly namespaces: readonly string[];
  readonly finalizers: FinalizerPolicy;
  readonly timeoutMs: number;
}

/** For the operator to mark upstreams as orphans: it does so at once, or it does not run, or its gateway is down. */
const MARKED_WITHIN_MS = 30_000;
/** With nothing left but upstreams that are referred to, only a person can help. */
const IN_USE_FOR_MS = 10_000;
const NO_PROGRESS_MS = 60_000;
const LOOK_EVERY_MS = 250;
const NAMED = 10;

/** Does to living GatewayUpstreams what the options say, while the operator still runs. */
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
        `${count(upstreams.length, 'GatewayUpstream')} still there (${namesOf(upstreams)}): give --finalizers=orphan to leave their upstreams in the gateways, or --finalizers=delete to delete those too; nothing was changed`,
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

/** Throws for a set that also makes GatewayUpstreams of another operator, whatever is done to it reaches those. */
function expectUnsharedSets({ sets, others }: Scope): void {
  const shared = sets.find(({ name }) => others.some(({ madeBy }) => madeBy?.set === name));
  if (shared === undefined) return;
  throw new InstallError(
    `GatewayUpstreamSet ${shared.name} also makes GatewayUpstreams in namespaces of another operator: exclude the namespaces of this one from its spec.namespaceSelector first; nothing was changed`,
    3,
  );
}

/** Sets every policy to Orphan and gives a running operator the time to mark the upstreams. */
async function orphan(
  deps: SettleDeps,
  { upstreams, sets }: Scope,
  options: SettleOptions,
  signal: AbortSignal,
): Promise<void> {
  const { clock, print } = deps;
  // First, or a set would take back what becomes of its GatewayUpstreams.
  for (const set of sets) {
    await patchSpec(deps, setPath(set), { template: { spec: { deletionPolicy: 'Orphan' } } }, signal);
  }
  for (const object of upstreams) {
    if (object.spec.ok && object.spec.value.deletionPolicy === 'Orphan') continue;
    await patchSpec(deps, upstreamPath(object), { deletionPolicy: 'Orphan' }, signal);
  }
  print(`spec.deletionPolicy is Orphan now on ${count(upstreams.length, 'GatewayUpstream')}`);
  const waitMs = Math.min(options.timeoutMs, MARKED_WITHIN_MS);
  const deadline = clock.monotonic() + waitMs;
  let unmarked: readonly GatewayUpstream[];
  for (;;) {
    unmarked = (
      await upstreamsOf(deps.catalog.transforms, deps.transport, options.namespaces, signal)
    ).filter((object) => !isMarked(object));
    if (unmarked.length === 0) {
      print('The operator marked their upstreams: they stay in the gateways.');
      return;
    }
    if (clock.monotonic() >= deadline) break;
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
  const [first] = unmarked;
  const why = first === undefined ? undefined : conditionOf(first, 'Programmed')?.message;
  print(
    `The operator did not mark the upstreams of ${namesOf(unmarked)} within ${waitMs / 1000} s (${why ?? 'it does not run'}): they stay in the gateways all the same, but an operator with the same clusterId that is installed later may delete them. Their finalizers are removed without it.`,
  );
}

/** Whether nothing of the object needs a mark, or the operator wrote it with the policy that the object has now. */
function isMarked(object: GatewayUpstream): boolean {
  if (!object.finalizers.includes(UPSTREAM_FINALIZER)) return true;
  // Its set may not have heard yet that its own policy changed.
  if (object.spec.ok && object.spec.value.deletionPolicy !== 'Orphan') return false;
  const programmed = conditionOf(object, 'Programmed');
  return programmed?.status === 'True' && (programmed.observedGeneration ?? 0) >= object.generation;
}

function conditionOf({ status }: GatewayUpstream, name: string): Condition | undefined {
  return status?.conditions?.find(({ type }) => type === name);
}

/** Deletes every object and waits for the operator to delete the upstreams. */
async function deleteAll(
  deps: SettleDeps,
  { upstreams, sets }: Scope,
  options: SettleOptions,
  signal: AbortSignal,
): Promise<void> {
  const { catalog, transport, clock, print } = deps;
  // First, or they would make their GatewayUpstreams anew.
  for (const set of sets) {
    if (await remove(transport, setPath(set), signal)) print(`GatewayUpstreamSet ${set.name} deleted`);
  }
  for (const object of upstreams) await remove(transport, upstreamPath(object), signal);
  print(
    `${count(upstreams.length, 'GatewayUpstream')} marked for deletion; waiting for the operator to delete the upstreams`,
  );
  const begun = clock.monotonic();
  let progress = { left: upstreams.length, at: begun };
  for (;;) {
    const left = await upstreamsOf(catalog.transforms, transport, options.namespaces, signal);
    if (left.length === 0) break;
    // A set may have made one in the moment before it went.
    for (const object of left) {
      if (object.deletionTimestamp === undefined) await remove(transport, upstreamPath(object), signal);
    }
    const now = clock.monotonic();
    if (left.length < progress.left) progress = { left: left.length, at: now };
    const idleMs = now - progress.at;
    if (left.every(isInUse) && idleMs >= IN_USE_FOR_MS) throw stillInUse(left);
    if (idleMs >= NO_PROGRESS_MS || now - begun >= options.timeoutMs) throw stillThere(left, now - begun);
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
  print('The operator deleted every upstream.');
}

function isInUse(object: GatewayUpstream): boolean {
  return conditionOf(object, 'Ready')?.reason === 'InUse';
}

/** Names what refers to each upstream, in the gateway's own words: they stand in parentheses in the message. */
function stillInUse(left: readonly GatewayUpstream[]): InstallError {
  const named = left.slice(0, NAMED).map((object) => {
    const message = conditionOf(object, 'Ready')?.message ?? '';
    return `${namesOf([object])}: ${/\((.*)\)/.exec(message)?.[1] ?? message}`;
  });
  const more = left.length - named.length;
  return new InstallError(
    `${count(left.length, 'GatewayUpstream')} cannot be deleted, because routes or other objects of the gateway refer to their upstreams (${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}): remove these references and run this command again, or give --finalizers=orphan. The operator deletes each of these upstreams as soon as nothing refers to it; nothing else was removed`,
    3,
  );
}

function stillThere(left: readonly GatewayUpstream[], waitedMs: number): InstallError {
  const [first] = left;
  const why = first === undefined ? undefined : conditionOf(first, 'Ready')?.message;
  return new InstallError(
    `${count(left.length, 'GatewayUpstream')} still there after ${Math.round(waitedMs / 1000)} s (${namesOf(left)}): ${why ?? 'check that the operator runs'}; solve that and run this command again, or give --finalizers=orphan. Nothing else was removed`,
    3,
  );
}

function upstreamPath({ namespace, name }: GatewayUpstream): string {
  return resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM.plural, namespace, name });
}

function setPath({ name }: GatewayUpstreamSet): string {
  return resourcePath({ group: GROUP, version: VERSION, plural: GATEWAY_UPSTREAM_SET.plural, name });
}

/** Merges `spec` into that of the object at `path`; one that is gone needs nothing. */
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
