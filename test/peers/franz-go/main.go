// franz-go as a peer of the system tests: produces and consumes by partition, without a group.
//
//	franz-go produce BOOTSTRAP TOPIC   records as frames on standard input, all acknowledged
//	franz-go consume BOOTSTRAP TOPIC   every record up to the present end, as frames on standard output
//
// The frames are those of record-frames.ts.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const deadline = 2 * time.Minute

func main() {
	if len(os.Args) != 4 {
		fail(fmt.Errorf("usage: franz-go produce|consume BOOTSTRAP TOPIC"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	seeds, topic := strings.Split(os.Args[2], ","), os.Args[3]
	switch os.Args[1] {
	case "produce":
		fail(produce(ctx, seeds, topic))
	case "consume":
		fail(consume(ctx, seeds, topic))
	default:
		fail(fmt.Errorf("no command %q", os.Args[1]))
	}
}

func produce(ctx context.Context, seeds []string, topic string) error {
	// Idempotence and acks=all are what this client does by itself.
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer client.Close()
	var failed kgo.FirstErrPromise
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		var keyBytes, valueBytes int
		if _, err := fmt.Fscanf(in, "%d %d\n", &keyBytes, &valueBytes); err == io.EOF {
			break
		} else if err != nil {
			return fmt.Errorf("frame header: %w", err)
		}
		frame := make([]byte, keyBytes+valueBytes+1)
		if _, err := io.ReadFull(in, frame); err != nil {
			return fmt.Errorf("frame body: %w", err)
		}
		record := &kgo.Record{Key: frame[:keyBytes], Value: frame[keyBytes : keyBytes+valueBytes]}
		client.Produce(ctx, record, failed.Promise())
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	return failed.Err()
}

func consume(ctx context.Context, seeds []string, topic string) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(seeds...))
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	if ends.Error() != nil {
		return ends.Error()
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
			from[end.Partition] = kgo.NewOffset().At(0)
		}
	})
	client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if errs := fetches.Errors(); len(errs) > 0 {
			return fmt.Errorf("partition %d: %w", errs[0].Partition, errs[0].Err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Fprintf(out, "%d %d %d %d\n", record.Partition, record.Offset, len(record.Key), len(record.Value))
			out.Write(record.Key)
			out.Write(record.Value)
			out.WriteByte('\n')
			if record.Offset+1 >= left[record.Partition] {
				delete(left, record.Partition)
			}
		})
	}
	return out.Flush()
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
