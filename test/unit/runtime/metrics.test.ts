import { describe, expect, it } from 'vitest';
import { createMetrics } from '../../../src/runtime/metrics.ts';

const lines = (text: string, name: string) =>
  text.split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'));

describe('metrics', () => {
  it('count by labels, and can start a series at 0', async () => {
    const metrics = createMetrics();
    const add = metrics.counter({ name: 'writes_total', type: 'counter', help: 'a', labels: ['to'] });
    add({ to: 'a' }, 0);
    add({ to: 'b' });
    add({ to: 'b' }, 2);
    expect(lines(await metrics.text(), 'writes_total')).toEqual([
      'writes_total{to="a"} 0',
      'writes_total{to="b"} 3',
    ]);
  });

  it('remove exactly the series with the given labels', async () => {
    const metrics = createMetrics();
    const labels = ['to', 'as'];
    const add = metrics.counter({ name: 'writes_total', type: 'counter', help: 'a', labels });
    const observe = metrics.histogram({ name: 'wait_seconds', type: 'histogram', help: 'a', labels });
    for (const to of ['a', 'b']) {
      for (const as of ['x', 'y']) {
        add({ to, as });
        observe({ to, as }, 1);
      }
    }
    const series = async () => [
      ...lines(await metrics.text(), 'writes_total'),
      ...lines(await metrics.text(), 'wait_seconds_count'),
    ];
    await metrics.forget({ to: 'a' });
    await metrics.forget({ to: 'b', as: 'y' });
    await metrics.forget({ to: 'c' });
    expect(await series()).toEqual(['writes_total{to="b",as="x"} 1', 'wait_seconds_count{to="b",as="x"} 1']);
    expect(lines(await metrics.text(), 'wait_seconds_bucket')).toHaveLength(16);
    add({ to: 'a', as: 'x' });
    expect(await series()).toContain('writes_total{to="a",as="x"} 1');
  });

  it('collect values at every scrape', async () => {
    const metrics = createMetrics();
    let value = 1;
    metrics.collect({ name: 'lists_total', type: 'counter', help: 'a', labels: [] }, () => [
      { labels: {}, value },
    ]);
    expect(lines(await metrics.text(), 'lists_total')).toEqual(['lists_total 1']);
    value = 3;
    const text = await metrics.text();
    expect(lines(text, 'lists_total')).toEqual(['lists_total 3']);
    expect(text).toContain('# TYPE lists_total counter');
  });

  it('sort times into buckets from a millisecond to a minute', async () => {
    const metrics = createMetrics();
    const observe = metrics.histogram({ name: 'wait_seconds', type: 'histogram', help: 'a', labels: [] });
    observe({}, 0.002);
    observe({}, 120);
    const text = await metrics.text();
    expect(lines(text, 'wait_seconds_bucket')).toEqual(
      expect.arrayContaining([
        'wait_seconds_bucket{le="0.001"} 0',
        'wait_seconds_bucket{le="0.0025"} 1',
        'wait_seconds_bucket{le="60"} 1',
        'wait_seconds_bucket{le="+Inf"} 2',
      ]),
    );
  });
});
