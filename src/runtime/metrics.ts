import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricDefinition {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

export type Labels = Readonly<Record<string, string>>;

/** One series: its labels and what it is now. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** What is told to Prometheus. Each definition may be used once. */
export interface Metrics {
  readonly contentType: string;
  /** The text of `GET /metrics` in Prometheus' format. */
  text(): Promise<string>;
  /** `samples` is asked at every scrape; of a counter it tells what it has come to. */
  collect(
    definition: MetricDefinition & { readonly type: 'gauge' | 'counter' },
    samples: () => readonly Sample[],
  ): void;
  /** Adds 1, or `count`; 0 makes the series exist, so that its first increase can be seen. */
  counter(
    definition: MetricDefinition & { readonly type: 'counter' },
  ): (labels: Labels, count?: number) => void;
  /** Drops every series of a counter or a histogram that has all of `labels`. */
  forget(labels: Labels): Promise<void>;
  /** Takes seconds. */
  histogram(
    definition: MetricDefinition & { readonly type: 'histogram' },
  ): (labels: Labels, seconds: number) => void;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** Metrics of the process, and those that the program adds. */
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
          // A bucket is no series of its own.
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
