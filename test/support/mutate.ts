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
  /** Where, for the message of a failure. */
  readonly where: string;
}

interface Place {
  readonly path: string;
  readonly value: unknown;
  set(value: unknown): void;
}

/** Names of what every object has. */
const PROTOTYPE_KEYS = ['__proto__', 'constructor', 'prototype', 'toString', 'hasOwnProperty', 'valueOf'];
const DEPTH = 20_000;
const HUGE = 50_000;

/**
 * One answer as it must never be: what is of another form than before is so in a way that a reader can notice. A value
 * that is only different (another address, an entry less) would be another truth.
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
      // A port by its number is as good as one by its name.
      const place = pick(
        places.filter(({ path }) => !path.endsWith('.serviceRef.port')),
        random,
      );
      place.set(ofAnotherType(place, random));
      return { mutation, bytes: Buffer.from(JSON.stringify(value)), where: place.path };
    }
    case 'unicode': {
      // A byte that no UTF-8 text has, in the middle of anything.
      const text = Buffer.from(JSON.stringify(value));
      const at = Math.floor(random() * text.length);
      const bytes = Buffer.concat([text.subarray(0, at), Buffer.from([0xff]), text.subarray(at)]);
      return { mutation, bytes, where: `at ${at}` };
    }
    default: {
      const { path, value: object } = pick(
        // One label more in a selector is another selector.
        places.filter((place) => isRecord(place.value) && !place.path.endsWith('.matchLabels')),
        random,
      );
      const [key, added] = addition(mutation, random);
      // A text, since an object literal with `__proto__` has another prototype and no such member.
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
  // Of what may be left out, null means that it is.
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

/** Every place within `root` but those that are null. */
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
  // The root has nothing that holds it.
  return places.slice(1);
}
