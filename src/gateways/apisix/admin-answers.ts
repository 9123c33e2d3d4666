import { GatewayUnavailableError } from '../../model/errors.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { interned } from '../../runtime/interned.ts';
import { isObject } from '../../runtime/json.ts';
import { noList } from './admin-errors.ts';
import type { ApisixAnswer } from './client.ts';
import { type AdminUpstream, toObserved } from './translate.ts';

/** The upstream in an answer; undefined if the gateway has no such upstream. */
export function answered(id: UpstreamId, { status, body }: ApisixAnswer): ObservedUpstream | undefined {
  if (status !== 404) return observe(id, valueIn(body));
  expectMissing(body);
  return undefined;
}

/** Throws unless a 404 comes from APISIX: one from a proxy in between does not mean that the upstream is missing. */
export function expectMissing(body: unknown): void {
  if (isObject(body) && body['message'] === 'Key not found') return;
  throw new GatewayUnavailableError(
    'The gateway sent a 404 answer that is not from the Admin API of APISIX on etcd',
    { remedy: 'correct spec.apisix.adminUrl' },
  );
}

/** Measured with APISIX 3.18: an empty page is `{}`, an empty list is `[]`. */
export function itemsOf(body: unknown): readonly unknown[] {
  const list = isObject(body) ? body['list'] : undefined;
  if (Array.isArray(list)) return list;
  if (isObject(list) && Object.keys(list).length === 0) return [];
  throw noList();
}

/** APISIX itself reads at most 1,000 levels, so a value that overflows the stack here cannot come from it. */
export function observe(id: UpstreamId, value: AdminUpstream): ObservedUpstream {
  try {
    return toObserved(id, value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new GatewayUnavailableError('The answer of the gateway is nested too deeply');
  }
}

/** Throws unless a list without pages is complete. An upstream missing from a partial list would look deleted. */
export function expectEveryItem(body: unknown, count: number): void {
  itemsOf(body);
  if (isObject(body) && body['total'] === count) return;
  const total = isObject(body) && typeof body['total'] === 'number' ? body['total'] : 'an unknown number of';
  throw new GatewayUnavailableError(`The list of the gateway contains only ${count} of ${total} objects`, {
    remedy: 'check that no proxy in front of the Admin API of APISIX adds page or page_size',
  });
}

/** Like `expectEveryItem`, for a list whose items were taken one by one. */
export function expectTaken(body: unknown, count: number): void {
  if (itemsOf(body).length > 0) throw noList();
  expectEveryItem(body, count);
}

/** The upstream of a listed item, once per id of the item. If the ids differ, neither must look free. */
export function observedIn(item: unknown): readonly ObservedUpstream[] {
  return idsOf(item).map((id) => observe(id, listedValue(item)));
}

export function valueIn(answer: unknown): AdminUpstream {
  const value = isObject(answer) ? answer['value'] : undefined;
  if (!isObject(value) || !hasReadableNodes(value)) {
    throw new GatewayUnavailableError(
      'The answer of the gateway is not an object of the Admin API of APISIX',
    );
  }
  return value;
}

/** Nodes of any other type would be read as an empty list, and written back as such when an upstream is orphaned. */
function hasReadableNodes({ nodes }: AdminUpstream): boolean {
  return nodes === undefined || Array.isArray(nodes) || isObject(nodes);
}

/** The value of a listed item. An invalid one, written directly to etcd, must not hide the others. */
export function listedValue(item: unknown): AdminUpstream {
  const value = isObject(item) ? item['value'] : undefined;
  return isObject(value) ? value : { value };
}

/** The id from the etcd key, which the Admin API uses, and the id in the value. They differ only if a client wrote directly to etcd. */
export function idsOf(item: unknown): readonly [string, ...string[]] {
  const key = isObject(item) ? item['key'] : undefined;
  const { id } = listedValue(item);
  const names = [
    // A substring keeps the whole string in memory, so it is interned.
    typeof key === 'string' ? interned(key.split('/').at(-1) ?? '') : '',
    typeof id === 'string' || typeof id === 'number' ? String(id) : '',
  ].filter((name) => name !== '');
  const [first, ...others] = new Set(names);
  if (first === undefined)
    throw new GatewayUnavailableError('The gateway listed an object without an id and without a key');
  return [first, ...others];
}
