import { pick, type Random } from './random.ts';

export const MUTATIONS = [
  'truncated',
  'type',
  'unknown field',
  'huge',
  'deep',
  'prototype',
  'unicode',
] as const;

export type Mutation = (typeof MUTATIONS)[number];

export interface Mutated {
  readonly mutation: Mutation;
  readonly bytes: Buffer;
  /** The location, for the message of a failure. */
  readonly where: string;
}

interface Place {
  readonly path: string;
  readonly value: unknown;
  set(value: unknown): void;
}

/** Property names that every object inherits. */
const PROTOTYPE_KEYS = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf'];
const DEPTH = 20_000;
const HUGE = 50_000;

/**
 * Mutates a response so that it is invalid in a way that a reader can detect. A value that is only different (another
 * address, a missing entry) would be a valid response.
 */
export function mutate(answer: unknown, random: Random): Mutated {
  const mutation = pick(MUTATIONS, random);
  const value: unknown = structuredClone(answer);
  const places = placesIn(value);
  switch (mutation) {
    case 'truncated': {
      const text = JSON.stringify(value);
      const length = Math.floor(random() * text.length);
      return { mutation, bytes: Buffer.from(text.slice(0, length)), where: `after ${length}` };
    }
    case 'type': {
      // A port number is as valid as a port name.
      const place = pick(
        places.filter(({ path }) => !path.endsWith('.serviceRef.port')),
        random,
      );
      place.set(ofAnotherType(place, random));
      return { mutation, bytes: Buffer.from(JSON.stringify(value)), where: place.path };
    }
    case 'unicode': {
      // A byte that is invalid in UTF-8, at any position.
      const text = Buffer.from(JSON.stringify(value));
      const at = Math.floor(random() * text.length);
      const bytes = Buffer.concat([text.subarray(0, at), Buffer.from([0xff]), text.subarray(at)]);
      return { mutation, bytes, where: `at ${at}` };
    }
    default: {
      const { path, value: object } = pick(
        // An additional label makes a different, valid selector.
        places.filter((place) => isRecord(place.value) && !place.path.endsWith('.matchLabels')),
        random,
      );
      const [key, added] = addition(mutation, random);
      // As text, because an object literal with `__proto__` sets the prototype.
      Object.assign(object as object, { 'added-here': 0 });
      const text = JSON.stringify(value).replace('"added-here":0', () => `${JSON.stringify(key)}:${added}`);
      return { mutation, bytes: Buffer.from(text), where: `${path}.${key}` };
    }
  }
}

function addition(mutation: Mutation, random: Random): readonly [key: string, json: string] {
  switch (mutation) {
    case 'huge':
      return ['huge', JSON.stringify('x'.repeat(Math.floor(random() * HUGE)))];
    case 'deep':
      return ['deep', `${'['.repeat(DEPTH)}${']'.repeat(DEPTH)}`];
    case 'prototype':
      return [
        pick(PROTOTYPE_KEYS, random),
        pick(['{"ready":false,"port":1,"nodes":[]}', '"x"', 'null', '[]'], random),
      ];
    default:
      return [pick(['novel', 'ready ', 'Nodes', '', '\ud800', '\u0000'], random), '{"a":["\\ud800",1e308]}'];
  }
}

function ofAnotherType({ path, value }: Place, random: Random): unknown {
  const others: unknown[] = [7, 'text', true, [], {}, { toString: 1 }, [null]];
  // For optional fields, null means absent.
  if (/^\$$|\.items$|\.(metadata|items\[\d+\])$|\.(list|value)$/.test(path)) others.push(null);
  return pick(
    others.filter((other) => kindOf(other) !== kindOf(value)),
    random,
  );
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return kindOf(value) === 'object';
}

/** All locations within `root` whose value is not null. */
function placesIn(root: unknown): Place[] {
  const places: Place[] = [];
  const visit = (value: unknown, path: string, set: (next: unknown) => void) => {
    if (value === null) return;
    places.push({ path, value, set });
    if (Array.isArray(value)) {
      for (const [index, entry] of value.entries()) {
        visit(entry, `${path}[${index}]`, (next) => {
          value[index] = next;
        });
      }
    } else if (isRecord(value)) {
      for (const [key, entry] of Object.entries(value)) {
        visit(entry, `${path}.${key}`, (next) => {
          value[key] = next;
        });
      }
    }
  };
  visit(root, '$', () => undefined);
  // The root has no parent.
  return places.slice(1);
}
