import { setTimeout as sleep } from 'node:timers/promises';
import { conditionOf } from '../test/support/workload.ts';
import { isUntouched, problemOf, staysBehind } from './comparison.ts';
import type { Upstream } from './model.ts';
import { giveBackKept } from './owners.ts';
import type { Site } from './site.ts';
import { membersPath, setPath } from './upstream-set.ts';
import { pathOf } from './upstreams.ts';

/** Longer than a take-over, the longest pause between two tries of a gateway, and a hold of vanished endpoints together. */
const WITHIN_MS = 120_000;
const LOOK_EVERY_MS = 100;

/**
 * Nothing is broken any more, and nobody changes anything: waits until the gateway and every status show what the model
 * says, and resolves to what does not after a long time. `mayHold`: nodes that a removal guard holds count as right.
 */
export async function awaitQuiet(
  site: Site,
  options: { readonly mayHold: boolean },
): Promise<readonly string[]> {
  // Not as soon as the object is gone: a request that the gateway was slow to carry out may come after that.
  giveBackKept(site);
  const deadline = performance.now() + WITHIN_MS;
  for (;;) {
    const problems = await problemsOf(site, options);
    if (problems.length === 0) break;
    if (performance.now() > deadline) return problems;
    await sleep(LOOK_EVERY_MS);
  }
  site.model.quiet();
  return [];
}

async function problemsOf(site: Site, options: { readonly mayHold: boolean }): Promise<readonly string[]> {
  const { model, gateway, judge } = site;
  for (const replica of site.replicas) {
    if (!replica.running) await replica.start();
    if (!(await replica.isReady())) return [`replica ${replica.name} is not ready`];
  }
  const problems: string[] = [];
  for (const upstream of [...model.upstreams.values()]) {
    const { id, state } = upstream;
    const held = gateway.get('upstreams', id);
    if (state === 'deleting') {
      const problem = await problemOfDeletion(site, upstream, held !== undefined);
      if (problem !== undefined) problems.push(problem);
      continue;
    }
    const problem = problemOf(model, upstream, held, options);
    if (problem !== undefined) problems.push(`upstream ${id} ${problem}`);
    const untold = problem === undefined ? await problemOfStatus(site, upstream) : undefined;
    if (untold !== undefined) problems.push(untold);
  }
  const known = new Set([
    ...model.upstreams.keys(),
    ...model.foreign.keys(),
    ...model.kept.keys(),
    ...model.orphans,
  ]);
  for (const id of gateway.ids('upstreams')) {
    // A backup may bring back one that was to stay when it was made.
    if (!known.has(id) && !staysBehind(gateway.get('upstreams', id)))
      problems.push(`upstream ${id} belongs to nobody and is still there`);
  }
  problems.push(...(await problemsOfSet(site)));
  judge.look();
  return problems;
}

/** Of its status, and of the objects that are there: those that are missing are missed elsewhere. */
async function problemsOfSet(site: Site): Promise<readonly string[]> {
  const { items } = (await site.api.get(membersPath(site))) as { readonly items?: readonly Named[] };
  const unknown = (items ?? [])
    .map(({ metadata: { namespace, name } }) => `${namespace}.${name}`)
    .filter((id) => site.model.upstreams.get(id)?.isMember !== true)
    .map((id) => `${id} is an object of the set, which does not want it`);
  if (!site.model.set.exists) return unknown;
  const set = await site.api.get(setPath(site));
  const ready = conditionOf(set, 'Ready');
  const isTold = ready?.status === 'True' && hasNewStatus(set);
  return isTold ? unknown : [...unknown, `the set has Ready ${ready?.status}/${ready?.reason}`];
}

interface Named {
  readonly metadata: { readonly namespace: string; readonly name: string };
}

function hasNewStatus(object: Readonly<Record<string, unknown>> | undefined): boolean {
  const { generation } = (object?.['metadata'] ?? {}) as { readonly generation?: number };
  const { observedGeneration } = (object?.['status'] ?? {}) as { readonly observedGeneration?: number };
  return generation === observedGeneration;
}

/** Forgets the object when it is gone and the gateway shows what its policies say. */
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
  if (isHeld && !stays) return `upstream ${id} is still there`;
  if (stays) site.model.orphans.add(id);
  site.model.upstreams.delete(id);
  return undefined;
}

/**
 * Whoever deletes the contents of a namespace asks the API server which kinds there are. One that has just started may
 * not know ours yet: then the namespace ends, and our objects stay without it and without anybody's wish to delete them.
 */
async function deleteLeftBehind(
  site: Site,
  upstream: Upstream,
  object: Readonly<Record<string, unknown>>,
): Promise<void> {
  const { deletionTimestamp } = (object['metadata'] ?? {}) as { readonly deletionTimestamp?: string };
  if (deletionTimestamp !== undefined) return;
  if ((await site.api.get(`/api/v1/namespaces/${upstream.namespace}`)) !== undefined) return;
  site.note(`${upstream.namespace} ended without ${upstream.name}, which is deleted by hand`);
  await site.api.remove(pathOf(upstream));
}

async function problemOfStatus(site: Site, upstream: Upstream): Promise<string | undefined> {
  const { id, namespace, name, manage, syncPolicy, backends } = upstream;
  const object = await site.api.get(pathOf(upstream));
  const { deletionTimestamp } = (object?.['metadata'] ?? {}) as { readonly deletionTimestamp?: string };
  if (object === undefined || deletionTimestamp !== undefined) return `${namespace}/${name} is not there`;
  if (!hasNewStatus(object)) return `${namespace}/${name} has an old status`;
  if (syncPolicy === 'Observe') return undefined;
  const programmed = conditionOf(object, 'Programmed');
  const resolved = conditionOf(object, 'ResolvedRefs');
  const secret = site.model.secretOf(upstream);
  const isUsable = secret === undefined || secret.certificate !== undefined;
  const allFound =
    isUsable && backends.every((backend) => site.model.placesOf(namespace, backend) !== undefined);
  if (resolved?.status !== (allFound ? 'True' : 'False')) {
    return `${namespace}/${name} has ResolvedRefs ${resolved?.status}/${resolved?.reason}`;
  }
  if (manage === 'Nodes' && site.model.kept.get(id) === undefined) {
    return allFound && programmed?.reason !== 'UpstreamNotFound'
      ? `${namespace}/${name} has Programmed ${programmed?.status}/${programmed?.reason} without an upstream`
      : undefined;
  }
  if (isUntouched(site.model, upstream)) return undefined;
  if (allFound && programmed?.status !== 'True') {
    return `${namespace}/${name} has Programmed ${programmed?.status}/${programmed?.reason}: ${programmed?.message}`;
  }
  return undefined;
}
