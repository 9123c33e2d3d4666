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
 * The mark of a backend: a digest of what selects its endpoints. It depends neither on the position of the backend nor on its
 * weight, and it shows no text from the spec.
 */
function markOf(target: ReferringTarget): string {
  const selected = JSON.stringify(selectionOf(target), inKeyOrder);
  return interned(createHash('sha256').update(selected).digest('hex').slice(0, DIGITS));
}

function selectionOf(target: ReferringTarget): object {
  if (target.kind === 'service') return target.ref;
  const { metadata, portKey } = target.choice;
  return { ...target.ref, metadata, portKey };
}

/** A replacer for `JSON.stringify`: the keys of an object have no order. */
function inKeyOrder(_: string, value: unknown): unknown {
  return isObject(value)
    ? Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)))
    : value;
}
