import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** One series of a gauge: its labels and what it is now. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface GaugeSource {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly string[];
  /** Asked at every scrape. */
  readonly samples: () => readonly Sample[];
}

/** The text of `GET /metrics` in Prometheus' format. */
export interface Metrics {
  readonly contentType: string;
  text(): Promise<string>;
}

/** Metrics of the process, and `gauges` of the program. */
export function createMetrics(gauges: readonly GaugeSource[]): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const { name, help, labelNames, samples } of gauges) {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, value } of samples()) this.set({ ...labels }, value);
      },
    });
  }
  return { contentType: registry.contentType, text: () => registry.metrics() };
}
