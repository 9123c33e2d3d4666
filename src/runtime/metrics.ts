import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

export type Labels = Readonly<Record<string, string>>;

/** The labels and the current value of one series. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** The metrics of the process. Each definition may be used once. */
export interface Metrics {
  readonly contentType: string;
  /** The body of `GET /metrics` in Prometheus text format. */
  text(): Promise<string>;
  /** Calls `samples` at every scrape. For a counter, it returns totals. */
  collect(
    definition: MetricDefinition & { readonly type: 'gauge' | 'counter' },
    samples: () => readonly Sample[],
  ): void;
  /** Adds 1, or `count`. A count of 0 creates the series, so that `rate` sees the first increase. */
  counter(
    definition: MetricDefinition & { readonly type: 'counter' },
  ): (labels: Labels, count?: number) => void;
  /** Removes all series of counters and histograms that have all of `labels`. */
  forget(labels: Labels): Promise<void>;
  /** The returned function takes seconds. */
  histogram(
    definition: MetricDefinition & { readonly type: 'histogram' },
  ): (labels: Labels, seconds: number) => void;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Metrics of the Node.js process, and those that the program adds. */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const counted: (Counter | Histogram)[] = [];
  collectDefaultMetrics({ register: registry });
  const common = ({ name, help, labels }: MetricDefinition) => {
    return { name, help, labelNames: [...labels], registers: [registry] };
  };
  return {
    contentType: registry.contentType,
    text: () => registry.metrics(),
    collect(definition, samples) {
      if (definition.type === 'gauge') {
        new Gauge({
          ...common(definition),
          collect() {
            this.reset();
            for (const { labels, value } of samples()) this.set({ ...labels }, value);
          },
        });
        return;
      }
      new Counter({
        ...common(definition),
        collect() {
          this.reset();
          for (const { labels, value } of samples()) this.inc({ ...labels }, value);
        },
      });
    },
    counter(definition) {
      const counter = new Counter(common(definition));
      counted.push(counter);
      return (labels, count = 1) => counter.inc(labels, count);
    },
    async forget(labels) {
      for (const metric of counted) {
        const { values } = await metric.get();
        for (const { labels: series } of values) {
          // The buckets of a histogram belong to one series.
          const { le: _le, ...own } = series as Record<string, string>;
          if (Object.entries(labels).every(([name, value]) => own[name] === value)) metric.remove(own);
        }
      }
    },
    histogram(definition) {
      const histogram = new Histogram({ ...common(definition), buckets: SECONDS });
      counted.push(histogram);
      return (labels, seconds) => histogram.observe(labels, seconds);
    },
  };
}
