import { readFileSync } from 'node:fs';
import type { Quantiles } from './measure.ts';
import type { Result } from './results.ts';

/** `npm run --silent bench:plot -- FILE...`: plots latency against size from `--json` files, as SVG on standard output. */

interface Series {
  readonly name: string;
  readonly color: string;
  readonly dash: string;
  readonly points: readonly { readonly upstreams: number; readonly ms: number }[];
}

const [WIDTH, HEIGHT] = [720, 440];
const PLOT = { left: 70, right: 560, top: 40, bottom: 350 };

const results = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, 'utf8')) as Result);
if (results.length === 0) {
  process.stderr.write(
    'npm run --silent bench:plot -- FILE...: plot the files of npm run bench -- --json FILE\n',
  );
  process.exitCode = 1;
} else {
  process.stdout.write(plot(results));
}

function plot(of: readonly Result[]): string {
  const all = seriesOf(of);
  const points = all.flatMap((series) => series.points);
  const decades = (values: readonly number[]) =>
    [Math.floor(Math.log10(Math.min(...values))), Math.ceil(Math.log10(Math.max(...values)))] as const;
  const [xFrom, xTo] = decades(points.map(({ upstreams }) => upstreams));
  const [yFrom, yTo] = decades(points.map(({ ms }) => ms));
  const place = (value: number, from: number, to: number, start: number, end: number) =>
    start + ((Math.log10(value) - from) / Math.max(to - from, 1)) * (end - start);
  const x = (upstreams: number) => place(upstreams, xFrom, xTo, PLOT.left, PLOT.right).toFixed(1);
  const y = (ms: number) => place(ms, yFrom, yTo, PLOT.bottom, PLOT.top).toFixed(1);

  const xTicks = ticks(xFrom, xTo).map(
    (value) =>
      `<line x1="${x(value)}" y1="${PLOT.top}" x2="${x(value)}" y2="${PLOT.bottom}" stroke="#ddd"/>` +
      `<text x="${x(value)}" y="${PLOT.bottom + 18}" text-anchor="middle">${value}</text>`,
  );
  const yTicks = ticks(yFrom, yTo).map(
    (value) =>
      `<line x1="${PLOT.left}" y1="${y(value)}" x2="${PLOT.right}" y2="${y(value)}" stroke="#ddd"/>` +
      `<text x="${PLOT.left - 8}" y="${Number(y(value)) + 4}" text-anchor="end">${value}</text>`,
  );
  const lines = all.map(({ color, dash, points: own }) => {
    const path = own.map(({ upstreams, ms }) => `${x(upstreams)},${y(ms)}`).join(' ');
    const dots = own.map(
      ({ upstreams, ms }) => `<circle cx="${x(upstreams)}" cy="${y(ms)}" r="3" fill="${color}"/>`,
    );
    return `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="2" stroke-dasharray="${dash}"/>${dots.join('')}`;
  });
  const legend = all.map(({ name, color, dash }, index) => {
    const at = PLOT.top + 10 + index * 20;
    return (
      `<line x1="575" y1="${at}" x2="605" y2="${at}" stroke="${color}" stroke-width="2" stroke-dasharray="${dash}"/>` +
      `<text x="612" y="${at + 4}">${name}</text>`
    );
  });
  const notes = [...new Set(of.flatMap(({ machine, command }) => [machine, command]))];
  const footer = notes.map(
    (note, index) =>
      `<text x="${PLOT.left}" y="${PLOT.bottom + 56 + index * 15}" fill="#666">${escaped(note)}</text>`,
  );
  const height = Math.max(HEIGHT, PLOT.bottom + 60 + notes.length * 15);
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    `<text x="${PLOT.left}" y="22" font-size="14">From the API server's response to the gateway's nodes, ms</text>`,
    ...xTicks,
    ...yTicks,
    `<text x="${(PLOT.left + PLOT.right) / 2}" y="${PLOT.bottom + 36}" text-anchor="middle">upstreams, ten endpoints each</text>`,
    ...lines,
    ...legend,
    ...footer,
    '</svg>',
  ].join('\n')}\n`;
}

function ticks(from: number, to: number): readonly number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => Number((10 ** (from + index)).toPrecision(1)));
}

/** p50 and p99 of operator and floor for each rate. */
function seriesOf(of: readonly Result[]): readonly Series[] {
  const sizes = of.flatMap((result) => result.sizes).toSorted((a, b) => a.upstreams - b.upstreams);
  const rates = [...new Set(sizes.flatMap(({ propagation = [] }) => propagation.map(({ rate }) => rate)))];
  const colors = ['#1f6feb', '#d1242f', '#8250df', '#1a7f37'];
  const who = [
    { of: 'operator', dash: 'none' },
    { of: 'floor', dash: '5 4' },
  ] as const;
  const which: readonly (keyof Quantiles)[] = ['p50', 'p99'];
  const combinations = rates.flatMap((rate) => which.map((quantile) => ({ rate, quantile })));
  return combinations.flatMap(({ rate, quantile }, index) =>
    who.map(
      ({ of: measured, dash }): Series => ({
        name: `${measured} ${quantile}, ${rate}/s`,
        color: colors[index % colors.length] ?? '#000',
        dash,
        points: sizes.flatMap(({ upstreams, propagation = [] }) =>
          propagation
            .filter((entry) => entry.rate === rate)
            .map((entry) => ({ upstreams, ms: entry[measured][quantile] })),
        ),
      }),
    ),
  );
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
