import { GatewayUnavailableError } from '../../model/errors.ts';
import type { ObservedUpstream, UpstreamId } from '../../model/upstream.ts';
import { interned } from '../../runtime/interned.ts';
import { isObject } from '../../runtime/json.ts';
import { noList } from './admin-errors.ts';
import type { ApisixAnswer } from './client.ts';
import { type AdminUpstream, toObserved } from './translate.ts';

/** What an answer about one upstream says; undefined: the gateway has none. */
export function answered(id: UpstreamId, { status, body }: ApisixAnswer): ObservedUpstream | undefined {
  if (status !== 404) return observe(id, valueIn(body));
  expectMissing(body);
  return undefined;
}

/** Only APISIX's own words mean that the upstream is not there: a 404 of something in between must not. */
export function expectMissing(body: unknown): void {
  if (isObject(body) && body['message'] === 'Key not found') return;
  throw new GatewayUnavailableError(
    'the gateway answered 404 in words that are not those of the Admin API of APISIX on etcd',
    { remedy: 'correct spec.apisix.adminUrl' },
  );
}

/** APISIX 3.18, measured: an empty page is `{}` and an empty list `[]`. */
export function itemsOf(body: unknown): readonly unknown[] {
  const list = isObject(body) ? body['list'] : undefined;
  if (Array.isArray(list)) return list;
  if (isObject(list) && Object.keys(list).length === 0) return [];
  throw noList();
}

/** APISIX itself reads 1,000 levels and no more: what is too deep for the stack here was never in it. */
export function observe(id: UpstreamId, value: AdminUpstream): ObservedUpstream {
  try {
    return toObserved(id, value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new GatewayUnavailableError(
      'the gateway answered with something that is nested too deeply to be read',
    );
  }
}

/** A list without pages must hold as many objects as it says that there are, so that none looks deleted that is not shown. */
export function expectEveryItem(body: unknown, count: number): void {
  itemsOf(body);
  if (isObject(body) && body['total'] === count) return;
  const total = isObject(body) && typeof body['total'] === 'number' ? body['total'] : 'an unknown number of';
  throw new GatewayUnavailableError(`the list holds ${count} of ${total} objects`, {
    remedy: 'check that nothing in front of the Admin API of APISIX adds page or page_size',
  });
}

/** As `expectEveryItem`, of a list whose items were taken one by one. */
export function expectTaken(body: unknown, count: number): void {
  if (itemsOf(body).length > 0) throw noList();
  expectEveryItem(body, count);
}

/** What a listed item shows, as each of its ids: where they differ neither may look free. */
export function observedIn(item: unknown): readonly ObservedUpstream[] {
  return idsOf(item).map((id) => observe(id, listedValue(item)));
}

export function valueIn(answer: unknown): AdminUpstream {
  const value = isObject(answer) ? answer['value'] : undefined;
  if (!isObject(value) || !hasReadableNodes(value)) {
    throw new GatewayUnavailableError(
      'the gateway answered with something that is no object of the Admin API of APISIX',
    );
  }
  return value;
}

/** Nodes of another shape would be read as none, and none is what would be written back where an upstream is left behind. */
function hasReadableNodes({ nodes }: AdminUpstream): boolean {
  return nodes === undefined || Array.isArray(nodes) || isObject(nodes);
}

/** The value of a listed item. One that is no object, written past the Admin API, must not hide the others. */
export function listedValue(item: unknown): AdminUpstream {
  const value = isObject(item) ? item['value'] : undefined;
  return isObject(value) ? value : { value };
}

/** By its key, which the Admin API goes by, and by what it says of itself: the same unless somebody wrote past the API. */
export function idsOf(item: unknown): readonly [string, ...string[]] {
  const key = isObject(item) ? item['key'] : undefined;
  const { id } = listedValue(item);
  const names = [
    // A part of a string keeps all of it.
    typeof key === 'string' ? interned(key.split('/').at(-1) ?? '') : '',
    typeof id === 'string' || typeof id === 'number' ? String(id) : '',
  ].filter((name) => name !== '');
  const [first, ...others] = new Set(names);
  if (first === undefined)
    throw new GatewayUnavailableError('the gateway listed an object without id or key');
  return [first, ...others];
}
