// Program peer runs clients of LaunchDarkly's Go SDK over its Redis and DynamoDB stores, as told on its standard
// input. ../README.md has the protocol. With the argument "time" it times the Redis store instead.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldlog"
	"github.com/launchdarkly/go-sdk-common/v3/ldreason"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	lddynamodb "github.com/launchdarkly/go-server-sdk-dynamodb/v4"
	ldredis "github.com/launchdarkly/go-server-sdk-redis-redigo/v3"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/interfaces"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems"
)

type request struct {
	Open     *open     `json:"open"`
	Evaluate *evaluate `json:"evaluate"`
	Close    *string   `json:"close"`
}

type open struct {
	ID, Store, URL, Table, Prefix string
	// Without a stream, the client only reads.
	Stream *string
}

type evaluate struct {
	ID    string
	Flags []string
	User  string
}

type result struct {
	Value       ldvalue.Value `json:"value"`
	Error       string        `json:"error,omitempty"`
	BigSegments string        `json:"bigSegments,omitempty"`
}

type answer struct {
	Error    string                   `json:"error,omitempty"`
	Versions string                   `json:"versions,omitempty"`
	Results  map[string]result        `json:"results,omitempty"`
	All      map[string]ldvalue.Value `json:"all"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "time" {
		timeStore(os.Args[2], os.Args[3])
		return
	}
	out := json.NewEncoder(os.Stdout)
	_ = out.Encode(answer{Versions: versions()})

	clients := map[string]*ld.LDClient{}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var wanted request
		var given answer
		err := json.Unmarshal(lines.Bytes(), &wanted)
		switch {
		case err != nil:
		case wanted.Open != nil:
			clients[wanted.Open.ID], err = newClient(*wanted.Open)
		case wanted.Evaluate != nil:
			given = evaluateAll(clients[wanted.Evaluate.ID], *wanted.Evaluate)
		case wanted.Close != nil:
			err = clients[*wanted.Close].Close()
			delete(clients, *wanted.Close)
		}
		if err != nil {
			given.Error = err.Error()
		}
		_ = out.Encode(given)
	}
}

func newClient(wanted open) (*ld.LDClient, error) {
	var store subsystems.ComponentConfigurer[subsystems.PersistentDataStore]
	var bigSegments subsystems.ComponentConfigurer[subsystems.BigSegmentStore]
	switch wanted.Store {
	case "redis":
		store = ldredis.DataStore().URL(wanted.URL).Prefix(wanted.Prefix)
		bigSegments = ldredis.BigSegmentStore().URL(wanted.URL).Prefix(wanted.Prefix)
	case "dynamodb":
		options := dynamodb.Options{
			Region:       "us-east-1",
			BaseEndpoint: aws.String(wanted.URL),
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: "dummy", SecretAccessKey: "dummy"}, nil
			}),
		}
		client := dynamodb.New(options)
		store = lddynamodb.DataStore(wanted.Table).Prefix(wanted.Prefix).DynamoClient(client)
		bigSegments = lddynamodb.BigSegmentStore(wanted.Table).Prefix(wanted.Prefix).DynamoClient(client)
	default:
		return nil, fmt.Errorf("no store is called %q", wanted.Store)
	}
	loggers := ldlog.NewDefaultLoggers()
	loggers.SetMinLevel(ldlog.Error)
	config := ld.Config{
		DataStore:   ldcomponents.PersistentDataStore(store).NoCaching(),
		BigSegments: ldcomponents.BigSegments(bigSegments),
		Events:      ldcomponents.NoEvents(),
		Logging:     ldcomponents.Logging().Loggers(loggers),
	}
	if wanted.Stream == nil {
		config.DataSource = ldcomponents.ExternalUpdatesOnly()
	} else {
		config.ServiceEndpoints = interfaces.ServiceEndpoints{
			Streaming: *wanted.Stream, Polling: *wanted.Stream, Events: *wanted.Stream,
		}
	}
	return ld.MakeCustomClient("sdk-key", config, 30*time.Second)
}

func evaluateAll(client *ld.LDClient, wanted evaluate) answer {
	user := ldcontext.New(wanted.User)
	given := answer{Results: map[string]result{}, All: client.AllFlagsState(user).ToValuesMap()}
	for _, flag := range wanted.Flags {
		value, detail, _ := client.JSONVariationDetail(flag, user, ldvalue.Null())
		one := result{Value: value, BigSegments: string(detail.Reason.GetBigSegmentsStatus())}
		if detail.Reason.GetKind() == ldreason.EvalReasonError {
			one.Error = string(detail.Reason.GetErrorKind())
		}
		given.Results[flag] = one
	}
	return given
}

// Of the modules of LaunchDarkly's that this program is built with.
func versions() string {
	names := map[string]string{
		"github.com/launchdarkly/go-server-sdk/v7":              "SDK",
		"github.com/launchdarkly/go-server-sdk-redis-redigo/v3": "Redis store",
		"github.com/launchdarkly/go-server-sdk-dynamodb/v4":     "DynamoDB store",
	}
	var found []string
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		if name, is := names[module.Path]; is {
			found = append(found, name+" "+strings.TrimPrefix(module.Version, "v"))
		}
	}
	return strings.Join(found, ", ")
}
