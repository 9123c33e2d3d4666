import { setTimeout as sleep } from 'node:timers/promises';
import { conditionOf } from '../test/support/workload.ts';
import { isRetained, isUntouched, problemOf } from './comparison.ts';
import type { Upstream } from './model.ts';
import { giveBackKept } from './owners.ts';
import type { Site } from './site.ts';
import { membersPath, setPath } from './upstream-set.ts';
import { pathOf } from './upstreams.ts';

/** Longer than a leader change, the longest back-off of a gateway and the removal guard's wait together. */
const WITHIN_MS = 120_000;
const CHECK_EVERY_MS = 100;

/**
 * Waits, without faults and changes, until the gateway and every status match the model. Resolves to the remaining
 * differences after the timeout. `allowGuarded`: accept nodes that the removal guard may keep.
 */
export async function awaitCheckpoint(
  site: Site,
  options: { readonly allowGuarded: boolean },
): Promise<readonly string[]> {
  // Not immediately after the object is deleted: a slow gateway may still apply an earlier request.
  giveBackKept(site);
  const deadline = performance.now() + WITHIN_MS;
  for (;;) {
    const problems = await problemsOf(site, options);
    if (problems.length === 0) break;
    if (performance.now() > deadline) return problems;
    await sleep(CHECK_EVERY_MS);
  }
  site.model.checkpoint();
  return [];
}

async function problemsOf(
  site: Site,
  options: { readonly allowGuarded: boolean },
): Promise<readonly string[]> {
  const { model, gateway, judge } = site;
  for (const replica of site.replicas) {
    if (!replica.running) await replica.start();
    if (!(await replica.isReady())) return [`replica ${replica.name} is not ready`];
  }
  const problems: string[] = [];
  for (const upstream of [...model.upstreams.values()]) {
    const { id, state } = upstream;
    const content = gateway.get('upstreams', id);
    if (state === 'deleting') {
      const problem = await problemOfDeletion(site, upstream, content !== undefined);
      if (problem !== undefined) problems.push(problem);
      continue;
    }
    const problem = problemOf(model, upstream, content, options);
    if (problem !== undefined) problems.push(`upstream ${id} ${problem}`);
    const wrongStatus = problem === undefined ? await problemOfStatus(site, upstream) : undefined;
    if (wrongStatus !== undefined) problems.push(wrongStatus);
  }
  const known = new Set([
    ...model.upstreams.keys(),
    ...model.foreign.keys(),
    ...model.kept.keys(),
    ...model.orphans,
  ]);
  for (const id of gateway.ids('upstreams')) {
    // A restored backup may contain an upstream that was retained at that time.
    if (!known.has(id) && !isRetained(gateway.get('upstreams', id)))
      problems.push(`orphaned upstream ${id} still exists`);
  }
  problems.push(...(await problemsOfSet(site)));
  judge.check();
  return problems;
}

/** Checks the set's status and unwanted members. Missing members appear as missing upstreams. */
async function problemsOfSet(site: Site): Promise<readonly string[]> {
  const { items } = (await site.api.get(membersPath(site))) as { readonly items?: readonly Named[] };
  const unknown = (items ?? [])
    .map(({ metadata: { namespace, name } }) => `${namespace}.${name}`)
    .filter((id) => site.model.upstreams.get(id)?.isMember !== true)
    .map((id) => `${id} is an unwanted member of the set`);
  if (!site.model.set.exists) return unknown;
  const set = await site.api.get(setPath(site));
  const ready = conditionOf(set, 'Ready');
  const isReported = ready?.status === 'True' && hasNewStatus(set);
  return isReported ? unknown : [...unknown, `the set has Ready ${ready?.status}/${ready?.reason}`];
}

interface Named {
  readonly metadata: { readonly namespace: string; readonly name: string };
}

function hasNewStatus(object: Readonly<Record<string, unknown>> | undefined): boolean {
  const { generation } = (object?.['metadata'] ?? {}) as { readonly generation?: number };
  const { observedGeneration } = (object?.['status'] ?? {}) as { readonly observedGeneration?: number };
  return generation === observedGeneration;
}

/** Drops the object from the model when it is deleted and the gateway matches its policies. */
async function problemOfDeletion(
  site: Site,
  upstream: Upstream,
  isHeld: boolean,
): Promise<string | undefined> {
  const { id, namespace, name, manage, deletionPolicy, syncPolicy } = upstream;
  const object = await site.api.get(pathOf(upstream));
  if (object !== undefined) {
    await deleteLeftBehind(site, upstream, object);
    return `${namespace}/${name} is not deleted yet`;
  }
  if (manage === 'Nodes') {
    site.model.upstreams.delete(id);
    return undefined;
  }
  const stays = deletionPolicy === 'Orphan' || syncPolicy !== 'Sync';
  if (isHeld && !stays) return `upstream ${id} still exists`;
  if (stays) site.model.orphans.add(id);
  site.model.upstreams.delete(id);
  return undefined;
}

/**
 * The namespace controller asks the API server for all kinds. An API server that has just started may not report custom
 * resources yet. Then the namespace is deleted, and its GatewayUpstreams remain without a deletion timestamp.
 */
async function deleteLeftBehind(
  site: Site,
  upstream: Upstream,
  object: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { deletionTimestamp } = (object['metadata'] ?? {}) as { readonly deletionTimestamp?: string };
  if (deletionTimestamp !== undefined) return;
  if ((await site.api.get(`/api/v1/namespaces/${upstream.namespace}`)) !== undefined) return;
  site.note(`${upstream.namespace} was deleted without ${upstream.name}, which the suite deletes`);
  await site.api.remove(pathOf(upstream));
}

async function problemOfStatus(site: Site, upstream: Upstream): Promise<string | undefined> {
  const { id, namespace, name, manage, syncPolicy, backends } = upstream;
  const object = await site.api.get(pathOf(upstream));
  const { deletionTimestamp } = (object?.['metadata'] ?? {}) as { readonly deletionTimestamp?: string };
  if (object === undefined || deletionTimestamp !== undefined) return `${namespace}/${name} does not exist`;
  if (!hasNewStatus(object)) return `${namespace}/${name} has an outdated status`;
  if (syncPolicy === 'Observe') return undefined;
  const programmed = conditionOf(object, 'Programmed');
  const resolved = conditionOf(object, 'ResolvedRefs');
  const secret = site.model.secretOf(upstream);
  const isUsable = secret === undefined || secret.certificate !== undefined;
  const allFound =
    isUsable && backends.every((backend) => site.model.placesOf(namespace, backend) !== undefined);
  // Without instances, a service of the registry counts as known once the operator has seen one, and as unknown before.
  const isOpen = backends.some(
    (backend) => backend.mode === 'Registry' && site.model.placesOf(namespace, backend) === undefined,
  );
  if (!isOpen && resolved?.status !== (allFound ? 'True' : 'False')) {
    return `${namespace}/${name} has ResolvedRefs ${resolved?.status}/${resolved?.reason}`;
  }
  if (manage === 'Nodes' && site.model.kept.get(id) === undefined) {
    return allFound && !isOpen && programmed?.reason !== 'UpstreamNotFound'
      ? `${namespace}/${name} has Programmed ${programmed?.status}/${programmed?.reason} without an upstream`
      : undefined;
  }
  if (isUntouched(site.model, upstream)) return undefined;
  if (allFound && programmed?.status !== 'True') {
    return `${namespace}/${name} has Programmed ${programmed?.status}/${programmed?.reason}: ${programmed?.message}`;
  }
  return undefined;
}
