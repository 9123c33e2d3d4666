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
 * A digest of all backends that can receive traffic; undefined where `backendMarks` is. An upstream is written only when all of
 * them have answered, so this digest in the gateway shows that a backend without nodes had none.
 */
export function backendsDigest(targets: readonly BackendTarget[], isKept: boolean): string | undefined {
  const marks = backendMarks(targets, isKept);
  if (marks === undefined) return undefined;
  const weighted = marks.filter((mark, index) => mark !== undefined && (targets[index]?.weight ?? 0) > 0);
  return interned(digestOf(weighted.toSorted().join()));
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
  const { registry, service, options } = target.ref;
  const { metadata, portKey } = target.choice;
  return ['registry', registry, service, options, metadata, portKey ?? null];
}

/** A replacer for `JSON.stringify`: the keys of an object have no order. */
function inKeyOrder(_: string, value: unknown): unknown {
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;
}
