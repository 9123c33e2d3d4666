import { parseNodeAddress } from './node-address.ts';
import { checkSchema, isObject } from './schema.ts';
import type { JsonObject, StoredItem } from './store.ts';

/** A stored upstream as a worker holds it: with every default, and `nodes` as an array. By source. */
export function workerUpstream(stored: JsonObject): JsonObject {
  const checked = checkSchema('upstreams', stored);
  const value = checked.ok ? checked.value : stored;
  const { nodes } = value;
  if (!isObject(nodes)) return value;
  const listed = Object.entries(nodes).map(([address, weight]) => ({ ...parseNodeAddress(address), weight }));
  return { ...value, nodes: listed };
}

/** What the Control API shows of an upstream. */
export function workerItem({ key, value, createdIndex, modifiedIndex }: StoredItem): JsonObject {
  return { key, value: workerUpstream(value), createdIndex, modifiedIndex, clean_handlers: {} };
}
