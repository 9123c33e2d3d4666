import type { GatewayConnectionStatus } from '../api/gateway-connection.ts';
import { type LaggingReason, MAX_LAGGING } from '../api/gateway-upstream-status.ts';
import type { Discovered } from '../model/discovered.ts';
import type { ServicePortRef } from '../model/reference.ts';
import { formatPlace } from './diff.ts';
import { chooseEndpoints } from './nodes.ts';

/** After a write, a data plane may serve the previous configuration for this long before it counts as lagging. */
export const VERIFICATION_GRACE_MS = 5000;

/** Whether a data plane serves the current configuration of an upstream. */
export type DataPlaneVerdict = 'Current' | LaggingReason;

/** What data planes should return for one upstream. Times are monotonic, in milliseconds. */
export interface ExpectedView {
  /** The last accepted write, in the form in which data planes return it. */
  readonly shown: string;
  /** Earlier writes, and when they were replaced; only recent ones count. */
  readonly superseded: readonly { readonly shown: string; readonly at: number }[];
  /** When the upstream was created; undefined if it existed before. */
  readonly createdAt: number | undefined;
}

/** The verdict on `answer`, the current answer of a data plane; undefined while it may still be fetching a recent write. */
export function judgeView(
  expected: ExpectedView,
  answer: string | undefined,
  now: number,
): DataPlaneVerdict | undefined {
  if (answer === expected.shown) return 'Current';
  const isRecent = (at: number) => now - at < VERIFICATION_GRACE_MS;
  if (answer === undefined) {
    return expected.createdAt !== undefined && isRecent(expected.createdAt) ? undefined : 'Missing';
  }
  const wasRight = expected.superseded.some(({ shown, at }) => shown === answer && isRecent(at));
  return wasRight ? undefined : 'OlderContent';
}

/** The data planes in the status of a GatewayUpstream. */
export interface DataPlanesOfUpstream {
  readonly total: number;
  readonly current: number;
  readonly lagging?: { readonly dataPlane: string; readonly reason: LaggingReason }[];
}

/** The data planes in the status of a GatewayConnection. */
export type DataPlanesOfConnection = NonNullable<GatewayConnectionStatus['dataPlanes']>;

/** Counts `verdicts`; undefined until all of them are known. The order of addresses does not matter. */
export function summarizeVerdicts(
  verdicts: ReadonlyMap<string, DataPlaneVerdict | undefined>,
): DataPlanesOfUpstream | undefined {
  const lagging: { readonly dataPlane: string; readonly reason: LaggingReason }[] = [];
  for (const [dataPlane, verdict] of verdicts) {
    if (verdict === undefined) return undefined;
    if (verdict !== 'Current') lagging.push({ dataPlane, reason: verdict });
  }
  lagging.sort((a, b) => (a.dataPlane < b.dataPlane ? -1 : 1));
  return {
    total: verdicts.size,
    current: verdicts.size - lagging.length,
    ...(lagging.length === 0 ? {} : { lagging: lagging.slice(0, MAX_LAGGING) }),
  };
}

/** The URLs of the data planes behind a Service: its endpoints that receive traffic. */
export function endpointUrls({
  endpoints,
  preferredFamily,
}: Extract<Discovered, { state: 'known' }>): readonly string[] {
  return chooseEndpoints(endpoints, preferredFamily).endpoints.map((place) => `http://${formatPlace(place)}`);
}

/**
 * Why the operator cannot find data planes behind a Service in `namespace`; undefined if it watches the namespace. `field`
 * holds the reference.
 */
export function unwatchedProblem(
  onlyNamespaces: readonly string[],
  namespace: string,
  field: string,
): string | undefined {
  if (onlyNamespaces.length === 0 || onlyNamespaces.includes(namespace)) return undefined;
  return `${field}: the operator does not watch namespace ${namespace}: add it to namespaces in the operator's configuration, or use urls`;
}

/** The problem with a data-plane Service that has no ready endpoint. */
export function noDataPlanes({ namespace, name }: ServicePortRef, field: string): string {
  return `Service ${namespace}/${name} in ${field} has no ready endpoint: check its Pods`;
}
