// Gathers lag with Telegraf's own input for Burrow, and prints what it got: a line of JSON for each measurement.
//
//	telegraf-burrow http://HOST:PORT
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/influxdata/telegraf/plugins/inputs"
	"github.com/influxdata/telegraf/plugins/inputs/burrow"
	"github.com/influxdata/telegraf/testutil"
)

type line struct {
	Measurement string            `json:"measurement"`
	Tags        map[string]string `json:"tags"`
	Fields      map[string]any    `json:"fields"`
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: telegraf-burrow http://HOST:PORT")
	}
	input, ok := inputs.Inputs["burrow"]().(*burrow.Burrow)
	if !ok {
		return fmt.Errorf("the input is not Telegraf's for Burrow")
	}
	input.Servers = []string{os.Args[1]}
	var got testutil.Accumulator
	if err := got.GatherError(input.Gather); err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	for _, metric := range got.Metrics {
		if err := out.Encode(line{metric.Measurement, metric.Tags, metric.Fields}); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
