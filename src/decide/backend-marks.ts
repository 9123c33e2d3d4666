import { createHash } from 'node:crypto';
import { interned } from '../runtime/interned.ts';
import { isObject } from '../runtime/json.ts';
import type { BackendTarget, ReferringTarget } from './backends.ts';

/** Hexadecimal digits of a mark. An upstream has at most 16 backends, so 32 bits distinguish them. */
const DIGITS = 8;

/** The mark of each backend, by index; undefined for a backend with static addresses, which are always known. */
export type BackendMarks = readonly (string | undefined)[];

/**
 * The marks of the backends of an upstream; undefined if its nodes carry none. Upstreams without registries have no marks:
 * an upgrade of the operator must not rewrite them. `isKept`: whether nodes keep their marks in the gateway.
 */
export function backendMarks(targets: readonly BackendTarget[], isKept: boolean): BackendMarks | undefined {
  if (!isKept || !targets.some(({ kind }) => kind === 'registry')) return undefined;
  return targets.map((target) => (target.kind === 'addresses' ? undefined : markOf(target)));
}

/**
 * What an upstream carries for all backends that can receive traffic: a digest of their marks and, for those that their
 * registry has never listed, a bit each, in the order of the marks. Undefined where `backendMarks` is. An upstream is written only
 * when all of them have answered, so this digest in the gateway shows that a backend without nodes had none.
 */
export function backendsMark(
  targets: readonly BackendTarget[],
  isKept: boolean,
  isUnlisted: (index: number) => boolean,
): string | undefined {
  const marks = backendMarks(targets, isKept);
  if (marks === undefined) return undefined;
  const weighted = weightedMarks(targets, marks);
  const unlisted = new Set(marks.filter((_, index) => isUnlisted(index)));
  let bits = 0;
  for (const [position, mark] of weighted.entries()) if (unlisted.has(mark)) bits += 2 ** position;
  const digest = digestOf(weighted.join());
  return interned(bits === 0 ? digest : `${digest}.${bits.toString(16)}`);
}

/** The marks of the backends that their registry had never listed; undefined if `written` is not a mark of these backends. */
export function unlistedMarks(
  targets: readonly BackendTarget[],
  marks: BackendMarks,
  written: string | undefined,
): ReadonlySet<string> | undefined {
  const weighted = weightedMarks(targets, marks);
  const [, digest, bits = '0'] = /^([0-9a-f]{8})(?:[.]([0-9a-f]{1,4}))?$/.exec(written ?? '') ?? [];
  if (digest !== digestOf(weighted.join())) return undefined;
  const unlisted = Number.parseInt(bits, 16);
  return new Set(weighted.filter((_, position) => Math.floor(unlisted / 2 ** position) % 2 === 1));
}

/** Sorted, each once. */
function weightedMarks(targets: readonly BackendTarget[], marks: BackendMarks): readonly string[] {
  const weighted = marks.flatMap((mark, index) =>
    mark !== undefined && (targets[index]?.weight ?? 0) > 0 ? [mark] : [],
  );
  return [...new Set(weighted)].sort();
}

/**
 * The mark of a backend: a digest of what selects its endpoints. It depends neither on the position of the backend nor on its
 * weight, and it shows no text from the spec.
 */
function markOf(target: ReferringTarget): string {
  return interned(digestOf(JSON.stringify(selectionOf(target), inKeyOrder)));
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, DIGITS);
}

/** Spelled out, so that a new name in the model does not change the marks of all upstreams. */
function selectionOf(target: ReferringTarget): readonly unknown[] {
  if (target.kind === 'service') {
    const { namespace, name, port, protocol } = target.ref;
    return ['service', namespace, name, port.by, port.port, protocol];
  }
  const { registry, service } = target.ref;
  const { metadata, portKey } = target.choice;
  // A section without fields selects the same instances as no section.
  const options = Object.fromEntries(
    Object.entries(target.ref.options).filter(
      ([, section]) => !isObject(section) || Object.values(section).some((value) => value !== undefined),
    ),
  );
  return ['registry', registry, service, options, metadata, portKey ?? null];
}

/** A replacer for `JSON.stringify`: the keys of an object have no order. */
function inKeyOrder(_: string, value: unknown): unknown {
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;
}
