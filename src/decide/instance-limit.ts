import { isDeepStrictEqual } from 'node:util';
import type { Discovered, UnknownAnswer } from '../model/discovered.ts';
import type { Endpoint } from '../model/endpoint.ts';
import type { RegistryServiceRef } from '../model/reference.ts';
import type { BackendTarget } from './backends.ts';
import type { LastAnswer } from './last-answers.ts';

/**
 * Instances of registries in all backends of one object, before any filter: one tenant's instances must not use up the time that
 * all objects share.
 */
const MAX_INSTANCES = 20_000;
/** Of the nodes of all of them as JSON. APISIX and its etcd accept requests of up to 1.5 MiB. */
const MAX_CHARACTERS = 1.45 * 1024 * 1024;
/** A node without its address, with its port, a weight of 1 and a mark. */
const NODE_CHARACTERS = 65;

type Read = (ref: RegistryServiceRef) => Discovered;
type Endpoints = readonly Endpoint[];

/**
 * Wraps `read`: where the instances of all backends are too many, the backends that grew most since their last answers are
 * unknown and keep these, so that the other ones can change.
 */
export function withinInstanceLimit(
  read: Read,
  targets: readonly BackendTarget[],
  lastAnswers: readonly LastAnswer[],
): Read {
  const refs = targets.flatMap((target) => (target.kind === 'registry' ? [target.ref] : []));
  if (refs.length === 0) return read;
  const found = new Map(refs.map((ref) => [ref, read(ref)]));
  const used = new Map(refs.map((ref) => [ref, endpointsBefore(ref, lastAnswers)]));
  for (const { change, endpoints, growth } of changesOf(found, used).toSorted(
    (a, b) => a.growth - b.growth,
  )) {
    const before = new Map(used);
    for (const ref of change) used.set(ref, endpoints);
    if (growth <= 0 || isWithinLimits([...used.values()])) continue;
    for (const ref of change) {
      used.set(ref, before.get(ref) ?? []);
      found.set(ref, tooMany(ref));
    }
  }
  return (ref) => found.get(ref) ?? read(ref);
}

interface Growth {
  /** Backends that select from the same list, which they have in the gateway only once. */
  readonly change: readonly RegistryServiceRef[];
  readonly endpoints: Endpoints;
  readonly growth: number;
}

function changesOf(
  found: ReadonlyMap<RegistryServiceRef, Discovered>,
  used: ReadonlyMap<RegistryServiceRef, Endpoints>,
): readonly Growth[] {
  const lists = [...found].flatMap(([ref, answer]) => {
    if (answer.state === 'unknown') return [];
    return [{ ref, endpoints: answer.state === 'known' ? answer.endpoints : [] }];
  });
  return [...Map.groupBy(lists, ({ endpoints }) => endpoints)].map(([endpoints, same]) => {
    const change = same.map(({ ref }) => ref);
    const before = change.reduce((sum, ref) => sum + (used.get(ref)?.length ?? 0), 0);
    return { change, endpoints, growth: endpoints.length * change.length - before };
  });
}

function endpointsBefore(ref: RegistryServiceRef, lastAnswers: readonly LastAnswer[]): Endpoints {
  const answer = lastAnswers.find((last) => isDeepStrictEqual(last.ref, ref))?.answer;
  return answer?.state === 'known' ? answer.endpoints : [];
}

function isWithinLimits(lists: readonly Endpoints[]): boolean {
  const instances = lists.reduce((sum, { length }) => sum + length, 0);
  // Backends that select from the same list share its nodes.
  const characters = [...new Set(lists)].reduce((sum, list) => sum + charactersOf(list), 0);
  return instances <= MAX_INSTANCES && characters <= MAX_CHARACTERS;
}

/** Every reconcile asks again, and the lists are large. */
const sizes = new WeakMap<Endpoints, number>();

function charactersOf(endpoints: Endpoints): number {
  const known = sizes.get(endpoints);
  if (known !== undefined) return known;
  const size = endpoints.reduce((sum, { address }) => sum + address.length + NODE_CHARACTERS, 0);
  sizes.set(endpoints, size);
  return size;
}

function tooMany({ registry, service }: RegistryServiceRef): UnknownAnswer {
  return {
    state: 'unknown',
    beginning: false,
    reason: 'TooManyInstances',
    message: `The backends list more than ${MAX_INSTANCES} instances in registries in total, or more than fit into one request to a gateway. The current nodes of service ${service} of ServiceRegistry ${registry} are unchanged: register fewer instances, or divide the backends among several objects`,
  };
}
