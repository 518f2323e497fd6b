package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	ldredis "github.com/launchdarkly/go-server-sdk-redis-redigo/v3"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems/ldstoreimpl"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems/ldstoretypes"
)

type plan struct {
	Flags, Calls int
	// What a flag looks like, with KEY and VERSION in their places.
	Template string
}

// Prints the microseconds that one call of each operation takes on average.
func timeStore(url, planText string) {
	var wanted plan
	must(json.Unmarshal([]byte(planText), &wanted))
	var defaults subsystems.BasicClientContext
	prefix := fmt.Sprintf("time-go-%d", os.Getpid())
	store, err := ldredis.DataStore().URL(url).Prefix(prefix).Build(defaults)
	must(err)
	kind := ldstoreimpl.Features()
	items := make([]ldstoretypes.KeyedSerializedItemDescriptor, wanted.Flags)
	for i := range items {
		items[i] = ldstoretypes.KeyedSerializedItemDescriptor{Key: key(i), Item: flag(wanted.Template, key(i), 1)}
	}
	times := map[string]float64{}
	times["init"] = average(3, func(int) {
		must(store.Init([]ldstoretypes.SerializedCollection{{Kind: kind, Items: items}}))
	})
	times["get"] = average(wanted.Calls, func(i int) { _, err := store.Get(kind, key(i%wanted.Flags)); must(err) })
	times["upsert"] = average(wanted.Calls, func(i int) {
		name := key(i % wanted.Flags)
		_, err := store.Upsert(kind, name, flag(wanted.Template, name, i+2))
		must(err)
	})
	times["get_all"] = average(3, func(int) { _, err := store.GetAll(kind); must(err) })
	must(json.NewEncoder(os.Stdout).Encode(times))
}

func average(calls int, call func(int)) float64 {
	call(0)
	start := time.Now()
	for i := range calls {
		call(i + 1)
	}
	return float64(time.Since(start).Microseconds()) / float64(calls)
}

func key(i int) string { return fmt.Sprintf("flag-%d", i) }

func flag(template, key string, version int) ldstoretypes.SerializedItemDescriptor {
	text := strings.NewReplacer("KEY", key, "VERSION", fmt.Sprint(version)).Replace(template)
	return ldstoretypes.SerializedItemDescriptor{Version: version, SerializedItem: []byte(text)}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
