import type { Quantiles } from '../measure.ts';
import type { KindLatency, Latency, Load, RegistryResult, Traffic } from './results.ts';

type Row = readonly [what: string, measured: string];

/** The results as a table. */
export function registriesText(results: readonly RegistryResult[]): string {
  const rows = results.flatMap(rowsOf);
  const width = Math.max(0, ...rows.map(([what]) => what.length));
  return rows.map(([what, measured]) => `${what.padEnd(width)}  ${measured}\n`).join('');
}

/** The violations of rules that do not depend on speed, one line each. */
export function registryFaultsIn(results: readonly RegistryResult[]): readonly string[] {
  return results.flatMap(({ type, latencies, load }) =>
    [
      ...latencies.flatMap(({ services, kinds }) =>
        Object.entries(kinds).flatMap(([kind, { lost, needless }]) => [
          ...lost.map((change) => `${services} services: ${change} never reached the gateway`),
          ...(needless === 0 ? [] : [`${services} services: ${needless} needless writes for ${kind}`]),
        ]),
      ),
      ...(load === undefined ? [] : faultsOfLoad(load)),
    ].map((line) => `${type}: ${line}`),
  );
}

/** A reconnect asks for every service once. Allows twice the requests, because idle requests vary. */
function faultsOfLoad({ services, wrong, idle, reconnect, outage, recovery }: Load): readonly string[] {
  const perSecond = idle.requests / idle.seconds;
  const tooMany = ([when, { seconds, requests }]: readonly [string, Traffic]) => {
    const most = Math.ceil(2 * (services + perSecond * seconds));
    return requests > most ? [`${requests} requests ${when}, more than ${most}`] : [];
  };
  const writing = ([when, { writes }]: readonly [string, Traffic]) =>
    writes === 0 ? [] : [`${writes} writes to the gateway ${when}, although no instance changed`];
  const periods = [
    ['while idle', idle],
    ['after a reconnect', reconnect],
    ['during an outage', outage],
    ['after an outage', recovery],
  ] as const;
  return [
    ...wrong.map((id) => `${id} was not written correctly at first`),
    ...periods.flatMap(writing),
    ...[periods[1], periods[3]].flatMap(tooMany),
  ];
}

function rowsOf({ type, pollIntervalMs, latencies, load }: RegistryResult): readonly Row[] {
  const own = pollIntervalMs === undefined ? '' : `, polled every ${pollIntervalMs / 1000} s`;
  return [
    ...latencies.flatMap((latency) => latencyRows(`${type}${own}`, latency)),
    ...(load === undefined ? [] : loadRows(type, load)),
  ];
}

function latencyRows(what: string, { services, kinds }: Latency): readonly Row[] {
  return [
    [`${what}, ${services} services: p50 / p90 / p99 / max, ms`, ''],
    ...Object.entries(kinds).map(([kind, latency]): Row => [`  ${kind}`, latencyText(latency)]),
  ];
}

export function latencyText({ changes, gateway, notification, lost, needless }: KindLatency): string {
  const floor = notification === undefined ? '' : `; bare query ${inMs(notification)}`;
  return `gateway ${inMs(gateway)}${floor} (${changes} changes, ${lost.length} lost, ${needless} needless PUTs)`;
}

function loadRows(type: string, load: Load): readonly Row[] {
  const { services, instances, programmedSeconds, rssMiB, idle, reconnect, outage, recovery } = load;
  return [
    [`${type}, ${services} services with ${instances} instances`, ''],
    ['  first programming', `${programmedSeconds.toFixed(1)} s from the start of the process`],
    ['  RSS', `${Math.round(rssMiB)} MiB`],
    ['  idle', `${trafficText(idle)}, ${idle.cpuPercent.toFixed(1)} % of a core`],
    ['  after all connections were closed', trafficText(reconnect)],
    ['  while the registry closes every connection', trafficText(outage)],
    ['  after that', trafficText(recovery)],
  ];
}

function trafficText({ seconds, requests, writes }: Traffic): string {
  return `${(requests / seconds).toFixed(1)} requests/s (${requests} in ${Math.round(seconds)} s), ${writes} writes to the gateway`;
}

function inMs({ p50, p90, p99, max }: Quantiles): string {
  return [p50, p90, p99, max].map((ms) => ms.toFixed(1)).join(' / ');
}
